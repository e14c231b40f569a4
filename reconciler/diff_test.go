package reconciler_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"clink/reconciler"
	"clink/topic"
	"clink/topology"

	"pgregory.net/rapid"
)

func drawLinks(t *rapid.T, label string) []topology.Link {
	names := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f"}), 0, 6, rapid.ID[string]).Draw(t, label)
	out := make([]topology.Link, len(names))
	for i, name := range names {
		out[i] = topology.Link{
			Name:   name,
			Enable: rapid.Bool().Draw(t, "enable"),
			Server: rapid.SampledFrom([]string{"x:1883", "y:1883"}).Draw(t, "server"),
			Topics: []topic.Filter{topic.Filter(rapid.SampledFrom([]string{"t/1", "t/#"}).Draw(t, "topic"))},
		}
		out[i].Pos.Line = rapid.IntRange(1, 9).Draw(t, "line")
	}
	return out
}

func byName(links []topology.Link) map[string]topology.Link {
	m := map[string]topology.Link{}
	for _, l := range links {
		m[l.Name] = l
	}
	return m
}

func TestDiffBringsActualToDesired(t *testing.T) {
	ranks := []string{topology.Delete, topology.Update, topology.Create}
	rapid.Check(t, func(t *rapid.T) {
		actual, desired := drawLinks(t, "actual"), drawLinks(t, "desired")
		now, want := byName(actual), byName(desired)
		changes := reconciler.Diff(actual, desired)
		for _, c := range changes {
			was, there := now[c.Peer]
			switch {
			case c.Peer != c.Link.Name:
				t.Fatalf("%s of %s carries the link %s", c.Op, c.Peer, c.Link.Name)
			case (c.Op == topology.Create) == there:
				t.Fatalf("%s of %s, which is there: %v", c.Op, c.Peer, there)
			case c.Op == topology.Update && was.Equal(c.Link):
				t.Fatalf("update of %s changes nothing", c.Peer)
			case c.Op == topology.Delete:
				delete(now, c.Peer)
			default:
				now[c.Peer] = c.Link
			}
		}
		if !maps.EqualFunc(now, want, topology.Link.Equal) {
			t.Fatalf("after %v there is %v, wanted %v", changes, now, want)
		}
		if !slices.IsSortedFunc(changes, func(a, b topology.Change) int {
			if r := slices.Index(ranks, a.Op) - slices.Index(ranks, b.Op); r != 0 {
				return r
			}
			return strings.Compare(a.Peer, b.Peer)
		}) {
			t.Fatalf("out of order: %v", changes)
		}
		if again := reconciler.Diff(desired, slices.Collect(maps.Values(now))); len(again) != 0 {
			t.Fatalf("what is equal gives %v", again)
		}
	})
}
