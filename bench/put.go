package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"
)

// putOptions are the flags of bench put, checked.
type putOptions struct {
	changes  int    // of each kind that are timed
	row      int    // PUTs in a row
	gets     int    // GETs of all links
	links    int    // of the site that they are of
	profiles string // directory for CPU profiles
}

func parsePut(args []string) (putOptions, error) {
	var o putOptions
	fs := flag.NewFlagSet("bench put", flag.ContinueOnError)
	fs.IntVar(&o.changes, "changes", 200, "`number` of changes of each kind that are timed")
	fs.IntVar(&o.row, "row", 1000, "`number` of PUTs in a row, for memory and git; 0 for none")
	fs.IntVar(&o.gets, "gets", 500, "`number` of GETs that are timed; 0 for none")
	fs.IntVar(&o.links, "links", 1000, "`number` of links of the site that is read")
	fs.StringVar(&o.profiles, "profiles", "", "write a CPU profile of clinkd into `DIR` for each case")
	return o, parseFlags(fs, args, func() error {
		switch {
		case o.changes < 2 || o.changes > 100_000, o.row < 0 || o.row > 1_000_000, o.gets < 0 || o.gets > 1_000_000:
			return errors.New("-changes is from 2 to 100000, -row and -gets from 0 to 1000000")
		case o.links < 1 || o.links > 5000:
			return errors.New("-links is from 1 to 5000")
		}
		return nil
	})
}

// measurePut times changes over REST and prints the outcome. It has no peer:
// nothing else writes links back into the source that a human wrote.
func measurePut(ctx context.Context, o putOptions, w io.Writer) error {
	if err := needGit(); err != nil {
		return err
	}
	at, err := setUp(ctx, common{alone: true, profiles: o.profiles}, true, w)
	defer at.remove()
	if err != nil {
		return err
	}
	dir, program := at.dir, at.clinkd
	fmt.Fprintln(w, "\n| change | git | times | in force: p50, p99, max | link online: p50, p99, max | CPU of one |\n|---|---|---|---|---|---|")
	for _, commit := range []bool{false, true} {
		for _, kind := range []string{"topic", "pair"} {
			if err := timeChanges(ctx, o, filepath.Join(dir, fmt.Sprintf("%s-%v", kind, commit)), program, kind, commit, w); err != nil {
				return err
			}
		}
	}
	if o.row > 0 {
		if err := putInARow(ctx, o, filepath.Join(dir, "row"), program, w); err != nil {
			return err
		}
	}
	if o.gets == 0 {
		return nil
	}
	fmt.Fprintln(w, "\n| GET of all links | their peers | bytes | times | p50, p99, max |\n|---|---|---|---|---|")
	for _, enable := range []bool{false, true} {
		if err := timeReads(ctx, o, filepath.Join(dir, fmt.Sprintf("reads-%v", enable)), program, enable, w); err != nil {
			return err
		}
	}
	return nil
}

// timeChanges times one kind of change: a topic that is added to a link and
// taken away again, or a pair of halves that is deleted and made again.
func timeChanges(ctx context.Context, o putOptions, dir, program, kind string, commit bool, w io.Writer) error {
	d, err := startPut(ctx, dir, program, commit)
	if err != nil {
		return err
	}
	defer d.stop()
	if err := d.online(ctx); err != nil {
		return err
	}
	profiled := d.profile(ctx, o.profiles, filepath.Base(dir))
	change := d.topic
	if kind == "pair" {
		change = d.pair
	}
	var force, online []time.Duration
	before := d.cpu()
	for n := range o.changes {
		began := time.Now()
		links, err := change(ctx, n)
		if err != nil {
			return err
		}
		force = append(force, time.Since(began))
		if !links {
			continue
		}
		if err := d.online(ctx); err != nil {
			return err
		}
		online = append(online, time.Since(began))
	}
	each := (d.cpu() - before) / time.Duration(o.changes)
	if err := profiled(); err != nil {
		return err
	}
	what := map[string]string{"topic": "a topic more, a topic less", "pair": "pair deleted, pair made"}[kind]
	git := "no"
	if commit {
		if err := d.inGit(ctx); err != nil {
			return err
		}
		git = "a commit each"
	}
	fmt.Fprintf(w, "| %s | %s | %d | %s | %s | %s |\n", what, git, o.changes, spread(force), spread(online), millis(each))
	return nil
}

// putInARow says what a thousand changes leave behind.
func putInARow(ctx context.Context, o putOptions, dir, program string, w io.Writer) error {
	d, err := startPut(ctx, dir, program, true)
	if err != nil {
		return err
	}
	defer d.stop()
	if err := d.online(ctx); err != nil {
		return err
	}
	fmt.Fprintln(w, "\n| PUTs in a row | live heap after a collection | goroutines | open files |\n|---|---|---|---|")
	step := max(1, o.row/5)
	for n := 0; ; n++ {
		if n%step == 0 {
			f, err := d.holds(ctx)
			if err != nil {
				return err
			}
			fmt.Fprintf(w, "| %d | %.1f MB | %.0f | %.0f |\n", n, f.heap/1e6, f.goroutines, f.files)
		}
		if n == o.row {
			break
		}
		if _, err := d.topic(ctx, n); err != nil {
			return err
		}
	}
	if err := d.inGit(ctx); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nAll %d are in git, a commit each.\n", o.row)
	return nil
}

// timeReads times GETs of all links of one site.
func timeReads(ctx context.Context, o putOptions, dir, program string, enable bool, w io.Writer) error {
	if err := writeHub(filepath.Join(dir, "topology"), o.links, enable); err != nil {
		return err
	}
	d, err := startDaemon(ctx, dir, program, "--site", hubName)
	if err != nil {
		return err
	}
	defer d.stop()
	profiled := d.profile(ctx, o.profiles, filepath.Base(dir))
	var took []time.Duration
	size := 0
	for range o.gets {
		began := time.Now()
		status, text, err := d.do(ctx, "GET", "/sites/"+hubName+"/cluster/links", "read", nil)
		if err != nil {
			return err
		}
		took, size = append(took, time.Since(began)), len(text)
		var list []linkState
		if err := json.Unmarshal(text, &list); err != nil || len(list) != o.links {
			return fmt.Errorf("%d links are in the source; the answer is %d %.200s", o.links, status, text)
		}
	}
	if err := profiled(); err != nil {
		return err
	}
	peers := "links are disabled"
	if enable {
		peers = "refuse connections"
	}
	fmt.Fprintf(w, "| %d | %s | %d | %d | %s |\n", o.links, peers, size, o.gets, spread(took))
	return nil
}

// spread is the middle, the 99th percentile and the most of some durations.
func spread(l []time.Duration) string {
	if len(l) == 0 {
		return ""
	}
	s := slices.Sorted(slices.Values(l))
	return fmt.Sprintf("**%s**, %s, %s", millis(percentile(s, 50)), millis(percentile(s, 99)), millis(s[len(s)-1]))
}

func millis(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }

// percentile is the smallest of the sorted values that p percent do not exceed.
func percentile(sorted []time.Duration, p int) time.Duration {
	return sorted[max(0, (len(sorted)*p+99)/100-1)]
}
