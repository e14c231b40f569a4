package reconciler

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"clink/topology"
)

// filesField is what a [topology.PlanStep] calls the content of the secret and
// certificate files that a link names.
const filesField = "(content of files)"

// Plan says what brings the sites (nil: all of either side) from one topology
// to another, either of which may be nil: the links that come, change and go,
// by site, and of those that change which fields differ, without any value.
func Plan(old, new *topology.Topology, sites []string) []topology.PlanStep {
	if sites == nil {
		sites = slices.Collect(maps.Keys(sitesOf(old)))
		sites = slices.AppendSeq(sites, maps.Keys(sitesOf(new)))
	}
	sites = slices.Clone(sites)
	slices.Sort(sites)
	steps := []topology.PlanStep{}
	for _, site := range slices.Compact(sites) {
		was, now := linksOf(old, site), linksOf(new, site)
		for _, c := range Diff(was, now) {
			step := topology.PlanStep{Site: site, Op: c.Op, Peer: c.Peer, Fields: []string{}}
			if c.Op == topology.Update {
				step.Fields = differing(byName(was)[c.Peer], c.Link)
			}
			steps = append(steps, step)
		}
	}
	return steps
}

func sitesOf(t *topology.Topology) map[string]*topology.Site {
	if t == nil {
		return nil
	}
	return t.Sites
}

func linksOf(t *topology.Topology, site string) []topology.Link {
	if s := sitesOf(t)[site]; s != nil {
		return s.Links
	}
	return nil
}

// differing names the fields in which two links differ, as the source does, in
// the order of the link's fields.
func differing(a, b topology.Link) []string {
	var fields []string
	t := reflect.TypeFor[topology.Link]()
	for i := range t.NumField() {
		one := a
		reflect.ValueOf(&one).Elem().Field(i).Set(reflect.ValueOf(b).Field(i))
		if name := fieldName(t.Field(i)); !one.Equal(a) && !slices.Contains(fields, name) {
			fields = append(fields, name)
		}
	}
	return fields
}

// fieldName is the field of the source that a field of a link comes from.
func fieldName(f reflect.StructField) string {
	switch f.Name {
	case "HasExport":
		return "export"
	case "Address":
		return "server"
	case "Digest":
		return filesField
	}
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}
