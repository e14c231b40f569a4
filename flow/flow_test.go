package flow_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"clink/compiler"
	"clink/flow"
	"clink/topic"
	"clink/topology"

	"pgregory.net/rapid"
)

// fleet builds a topology from lines: "a>b t/#,u" is the half of a towards b
// with its topics, "a>b off t/#" a disabled one, "a>b export x: t/#" one that
// exports x alone, "a external" a kind, and "a" just a site.
func fleet(lines ...string) *topology.Topology {
	t := &topology.Topology{Sites: map[string]*topology.Site{}}
	site := func(name string) *topology.Site {
		if t.Sites[name] == nil {
			t.Sites[name] = &topology.Site{Name: name, Target: topology.Target{Kind: topology.Embedded}}
		}
		return t.Sites[name]
	}
	for _, line := range lines {
		what, rest, _ := strings.Cut(line, " ")
		from, to, link := strings.Cut(what, ">")
		s := site(from)
		if !link {
			if rest == "external" {
				s.Target.Kind = topology.External
			}
			continue
		}
		l := topology.Link{Name: to, Enable: true}
		if r, off := strings.CutPrefix(rest, "off "); off {
			l.Enable, rest = false, r
		}
		if r, limited := strings.CutPrefix(rest, "export "); limited {
			var only string
			only, rest, _ = strings.Cut(r, ": ")
			l.Export, l.HasExport = filters(only), true
		}
		l.Topics = filters(rest)
		s.Links = append(s.Links, l)
	}
	compiler.Derive(t)
	return t
}

func filters(s string) []topic.Filter {
	l := []topic.Filter{}
	for f := range strings.SplitSeq(s, ",") {
		if f != "" {
			l = append(l, topic.Filter(f))
		}
	}
	return l
}

func TestFlows(t *testing.T) {
	tests := []struct {
		name  string
		lines []string
		want  string
	}{
		{"nothing", nil, ""},
		{"both ways", []string{"a>b t/#,u", "b>a v"}, "a>b v; b>a t/#,u"},
		{"one way", []string{"a>b t/#", "b>a "}, "b>a t/#"},
		{"one-sided", []string{"a>b t/#", "b"}, ""},
		{"to a stranger", []string{"a>b t/#"}, ""},
		{"to itself", []string{"a>a t/#"}, ""},
		{"disabled here", []string{"a>b off t/#", "b>a u"}, ""},
		{"disabled there", []string{"a>b t/#", "b>a off u"}, ""},
		{"no transit", []string{"a>b ", "b>a t", "b>c ", "c>b t"}, "a>b t; b>c t"},
		{"a redundant topic", []string{"a>b t/1,t/#", "b>a "}, "b>a t/#"},
		{"system topics by name alone", []string{"a>b #,$SYS/#", "b>a #"}, "a>b #; b>a #,$SYS/#"},
		{"reserved topics", []string{"a>b $LINK/#,$share/g/t,u", "b>a "}, "b>a u"},
		{"no filter at all", []string{"a>b t/#/u,v", "b>a "}, "b>a v"},
		{"an external site of which nothing is known", []string{"a>x t", "x external"}, "a>x #; x>a t"},
		{"an external site that is sent part", []string{"a>x export u,u/1: t", "x external"}, "a>x u,u/1; x>a t"},
		{"an external site that is sent nothing", []string{"a>x export : t", "x external"}, "x>a t"},
		{"a declared external half", []string{"a>x t", "x external", "x>a u"}, "a>x u; x>a t"},
		{"a declared external half, narrowed", []string{"a>x export u/1/+: t", "x external", "x>a u/+/2"}, "a>x u/1/2; x>a t"},
		{"a disabled external half", []string{"a>x t", "x external", "x>a off u"}, ""},
		{"an external half alone", []string{"a", "x external", "x>a u"}, ""},
		{"two external sites, one half", []string{"x external", "y external", "x>y t"}, ""},
		{"a disabled half towards an external site", []string{"a>x off t", "x external"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := text(flow.Flows(fleet(tt.lines...))); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	if got := flow.Flows(nil); got == nil || len(got) > 0 {
		t.Errorf("of nil: %#v", got)
	}
}

func text(flows []flow.Flow) string {
	var l []string
	for _, f := range flows {
		l = append(l, f.From+">"+f.To+" "+join(f.Topics))
	}
	return strings.Join(l, "; ")
}

func join(filters []topic.Filter) string {
	var l []string
	for _, f := range filters {
		l = append(l, string(f))
	}
	return strings.Join(l, ",")
}

func TestDiff(t *testing.T) {
	tests := []struct {
		name     string
		old, new []string
		want     string
	}{
		{"nothing", []string{"a>b t", "b>a u"}, []string{"b>a u", "a>b t"}, ""},
		{"a new pair", nil, []string{"a>b t", "b>a u"}, "a>b +u -; b>a +t -"},
		{"a pair goes", []string{"a>b t", "b>a u"}, nil, "a>b + -u; b>a + -t"},
		{"disabled", []string{"a>b t", "b>a u"}, []string{"a>b off t", "b>a u"}, "a>b + -u; b>a + -t"},
		{"wider", []string{"a>b t/1", "b>a "}, []string{"a>b t/#", "b>a "}, "b>a +t/# -"},
		{"narrower", []string{"a>b t/#", "b>a "}, []string{"a>b t/1", "b>a "}, "b>a + -t/#"},
		{"another", []string{"a>b t,u", "b>a "}, []string{"a>b u,v", "b>a "}, "b>a +v -t"},
		{"the same in other words", []string{"a>b t/#", "b>a "}, []string{"a>b t,t/+/#", "b>a "}, ""},
		{"the other half is written", []string{"a>b t", "b"}, []string{"a>b t", "b>a "}, "b>a +t -"},
		{"an external site is narrowed", []string{"a>x t", "x external"}, []string{"a>x export u: t", "x external"}, "a>x + -#"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var l []string
			for _, c := range flow.Diff(fleet(tt.old...), fleet(tt.new...)) {
				l = append(l, fmt.Sprintf("%s>%s +%s -%s", c.From, c.To, join(c.Starts), join(c.Stops)))
			}
			if got := strings.Join(l, "; "); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestJSONHasNoNull(t *testing.T) {
	two := fleet("a>b t", "b>a ")
	for want, v := range map[string]any{
		`[{"from":"b","to":"a","topics":["t"]}]`:            flow.Flows(two),
		`[{"from":"b","to":"a","starts":["t"],"stops":[]}]`: flow.Diff(nil, two),
		`[{"from":"b","to":"a","starts":[],"stops":["t"]}]`: flow.Diff(two, nil),
		`[]`: flow.Diff(nil, nil),
	} {
		if got, err := json.Marshal(v); err != nil || string(got) != want {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}
}

// names are all topic names of up to three levels over a small alphabet, one of
// whose words no filter drawn here uses.
var names = func() []string {
	all := []string{"a", "b", "", "z", "$S"}
	from := all
	for range 2 {
		var longer []string
		for _, n := range from {
			for _, l := range []string{"a", "b", "", "z"} {
				longer = append(longer, n+"/"+l)
			}
		}
		all, from = append(all, longer...), longer
	}
	return slices.DeleteFunc(all, func(n string) bool { return n == "" })
}()

func drawTopics(t *rapid.T, label string) string {
	return strings.Join(rapid.SliceOfN(rapid.Custom(func(t *rapid.T) string {
		ls := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "", "+"}), 1, 3).Draw(t, "levels")
		switch rapid.IntRange(0, 4).Draw(t, "kind") {
		case 0:
			ls[len(ls)-1] = "#"
		case 1:
			ls[0] = "$S"
		}
		return strings.Join(ls, "/")
	}), 0, 4).Draw(t, label), ",")
}

// drawFleet draws four sites, two of them external, and halves at random.
func drawFleet(t *rapid.T, label string) *topology.Topology {
	lines := []string{"a", "b", "x external", "y external"}
	for _, from := range []string{"a", "b", "x", "y"} {
		for _, to := range []string{"a", "b", "x", "y", "nobody"} {
			how := rapid.IntRange(0, 5).Draw(t, label+from+to)
			if from == to || how == 0 {
				continue
			}
			form := map[int]string{1: "off ", 2: "export " + drawTopics(t, "export") + ": "}[how]
			lines = append(lines, from+">"+to+" "+form+drawTopics(t, "topics"))
		}
	}
	return fleet(lines...)
}

// crosses says of one message what Flows says of all, from the words of the
// protocol and not from filters of filters.
func crosses(t *topology.Topology, from, to, name string) bool {
	anyMatch := func(filters []topic.Filter) bool {
		return slices.ContainsFunc(filters, func(f topic.Filter) bool { return f.Match(name) })
	}
	near, far := t.Sites[from], t.Sites[to]
	if near == nil || far == nil {
		return false
	}
	own, ownThere := near.Link(to)
	theirs, theirsThere := far.Link(from)
	switch {
	case !ownThere && !theirsThere,
		ownThere && !own.Enable,
		theirsThere && !theirs.Enable,
		!ownThere && (near.Target.Kind != topology.External || far.Target.Kind == topology.External),
		!theirsThere && (far.Target.Kind != topology.External || near.Target.Kind == topology.External),
		theirsThere && !anyMatch(theirs.Topics):
		return false
	}
	return anyMatch(near.Exports[to])
}

func TestFlowsAgreeWithEachMessage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fl := drawFleet(t, "")
		carried := map[[2]string][]topic.Filter{}
		for _, f := range flow.Flows(fl) {
			carried[[2]string{f.From, f.To}] = f.Topics
		}
		for _, from := range fl.Names() {
			for _, to := range fl.Names() {
				for _, name := range names {
					got := slices.ContainsFunc(carried[[2]string{from, to}], func(f topic.Filter) bool { return f.Match(name) })
					if want := from != to && crosses(fl, from, to, name); got != want {
						t.Fatalf("%q from %s to %s crosses: %v, want %v", name, from, to, got, want)
					}
				}
			}
		}
	})
}

// What starts is of the new side; every name that is new is in it, and every
// filter in it has a name that is new. The same for what stops.
func TestDiffAgreesWithEachMessage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		old, new := drawFleet(t, "old "), drawFleet(t, "new ")
		if d := flow.Diff(old, old); len(d) > 0 {
			t.Fatalf("of equal topologies: %v", d)
		}
		changes := map[[2]string]flow.Change{}
		for _, c := range flow.Diff(old, new) {
			changes[[2]string{c.From, c.To}] = c
		}
		for _, from := range []string{"a", "b", "x", "y"} {
			for _, to := range []string{"a", "b", "x", "y"} {
				if from == to {
					continue
				}
				c := changes[[2]string{from, to}]
				side(t, c.Starts, func(n string) bool { return crosses(new, from, to, n) }, func(n string) bool { return crosses(old, from, to, n) })
				side(t, c.Stops, func(n string) bool { return crosses(old, from, to, n) }, func(n string) bool { return crosses(new, from, to, n) })
			}
		}
	})
}

func side(t *rapid.T, filters []topic.Filter, in, out func(string) bool) {
	proved := map[topic.Filter]bool{}
	for _, n := range append(slices.Clone(names), "z/z/z/z", "a/b/z/z", "b/a/z/z", "a/a/z/z", "b/b/z/z", "a//z/z", "$S/z/z/z") {
		said := false
		for _, f := range filters {
			if f.Match(n) {
				said = true
				if !in(n) {
					t.Fatalf("%v has %q, which is on neither side", filters, n)
				}
				proved[f] = proved[f] || !out(n)
			}
		}
		if in(n) && !out(n) && !said {
			t.Fatalf("%v has not %q", filters, n)
		}
	}
	if len(proved) != len(filters) || !maps.Equal(proved, allTrue(filters)) {
		t.Fatalf("%v: proved are %v alone", filters, proved)
	}
}

func allTrue(filters []topic.Filter) map[topic.Filter]bool {
	m := map[topic.Filter]bool{}
	for _, f := range filters {
		m[f] = true
	}
	return m
}
