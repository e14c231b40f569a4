package command

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"clink/compiler"
	"clink/diagnostic"
	"clink/reconciler"
	"clink/source"
	"clink/topology"
)

// chooseSites says which sites this process runs. Without --site it is all
// embedded ones, but only where every listener is on loopback: a fleet that
// lives on many machines must not come up whole on one of them.
func chooseSites(ctx context.Context, dir *source.Dir, o options) ([]string, *compiler.Result, error) {
	snap, err := dir.Snapshot(ctx)
	if err != nil {
		return nil, nil, err
	}
	res, err := compiler.Compile(ctx, snap, compiler.Options{Now: time.Now()})
	if err != nil {
		return nil, nil, fmt.Errorf("compile the topology: %w", err)
	}
	embedded := embeddedSites(res.Topology)
	if len(o.sites) > 0 {
		names := slices.Clone(o.sites)
		slices.Sort(names)
		names = slices.Compact(names)
		for _, n := range names {
			// A site whose file does not parse today may be known to the
			// last good state: only a source that is readable rules it out.
			if !slices.Contains(embedded, n) && !slices.ContainsFunc(res.Findings, unreadable) {
				return nil, nil, usagef("the topology has no embedded site %q; it has %s", n, quoteAll(embedded))
			}
		}
		return names, res, nil
	}
	all := res.Topology
	if slices.ContainsFunc(res.Findings, unreadable) {
		all = withLastGood(res, o.dataDir)
		embedded = slices.DeleteFunc(embeddedSites(all), func(n string) bool {
			// A site that the source does not tell of is run if it was run here.
			return res.Topology.Sites[n] == nil && !wasHere(o.dataDir, n)
		})
	}
	if len(embedded) == 0 {
		return nil, nil, usagef("no embedded site can be read from %s: run clinkc vet there, or name the sites with --site", o.dir)
	}
	for _, n := range embedded {
		for _, l := range all.Sites[n].Listeners {
			if l.Enable && l.Type != topology.Unix && !loopback(l.Bind) {
				return nil, nil, usagef("site %s listens on %s, which is not loopback: say with --site which of %s this process runs", n, l.Bind, quoteAll(embedded))
			}
		}
	}
	return embedded, res, nil
}

func unreadable(d diagnostic.Diagnostic) bool { return d.Rule == "schema" }

func embeddedSites(t *topology.Topology) []string {
	return slices.DeleteFunc(t.Names(), func(n string) bool { return t.Sites[n].Target.Kind != topology.Embedded })
}

// withLastGood is what is in the source, and the sites that a file of it which
// cannot be read may declare, as they were when an earlier run could read it.
func withLastGood(res *compiler.Result, dataDir string) *topology.Topology {
	entries, err := os.ReadDir(dataDir)
	if err != nil {
		return res.Topology // nothing has run here yet
	}
	type kept struct {
		path string
		at   time.Time
	}
	var files []kept // one a site, which tell of all sites
	for _, e := range entries {
		path := filepath.Join(dataDir, e.Name(), "last-good")
		if info, err := os.Stat(path); err == nil {
			files = append(files, kept{path, info.ModTime()})
		}
	}
	slices.SortFunc(files, func(a, b kept) int { return b.at.Compare(a.at) })
	var last reconciler.LastGood
	for _, f := range files {
		if last, err = reconciler.ReadLastGood(f.path); err == nil {
			break
		}
	}
	if last.Topology == nil {
		return res.Topology
	}
	held, _ := compiler.Hold(res, last.Topology, last.Held, time.Now())
	all := &topology.Topology{Sites: map[string]*topology.Site{}}
	for _, t := range []*topology.Topology{held, res.Topology} { // what is in the source tells most
		for name, s := range t.Sites {
			all.Sites[name] = s
		}
	}
	return all
}

// wasHere reports whether an earlier run with the data directory ran a site.
func wasHere(dataDir, site string) bool {
	_, err := os.Stat(lastGoodFile(dataDir, site))
	return err == nil
}
