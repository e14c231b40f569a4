package flow_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"clink/flow"
	"clink/topic"
	"clink/topology"

	"pgregory.net/rapid"
)

// rule is a policy from its short form: "never a>b t,u", where * stands for
// every site.
func rule(s string) topology.Policy {
	kind, rest, _ := strings.Cut(s, " ")
	ends, topics, _ := strings.Cut(rest, " ")
	from, to, _ := strings.Cut(ends, ">")
	choose := func(name string) topology.Selector {
		if name == "*" {
			return nil
		}
		return topology.Selector{{Label: topology.SelectSite, Values: strings.Split(name, ",")}}
	}
	return topology.Policy{Name: s, Always: kind == "always", Topics: filters(topics), From: choose(from), To: choose(to)}
}

func TestBreaches(t *testing.T) {
	tests := []struct {
		name, rule string
		lines      []string
		want       string
	}{
		{"forbidden", "never a>b t/#", []string{"a>b ", "b>a t/1"}, "a>b t/1: t/1"},
		{"the other way is not", "never b>a t/#", []string{"a>b ", "b>a t/1"}, ""},
		{"a part of what crosses", "never a>b t/+/1", []string{"a>b ", "b>a t/#,u"}, "a>b t/#: t/x/1"},
		{"each filter that carries it", "never a>b t/#", []string{"a>b ", "b>a +/1,u,t/2"}, "a>b +/1: t/1; a>b t/2: t/2"},
		{"below the first level", "never a>b t/#", []string{"a>b ", "b>a #"}, "a>b #: t/x"},
		{"system topics", "never a>b #,+/b", []string{"a>b ", "b>a $SYS/#"}, ""},
		{"system topics by name", "never a>b $SYS/#", []string{"a>b ", "b>a #,$SYS/+"}, "a>b $SYS/+: $SYS/x"},
		{"reserved and invalid topics", "never a>b $share/g/t,t/#/u", []string{"a>b ", "b>a #"}, ""},
		{"everything, everywhere", "never *>* #", []string{"a>b x", "b>a t"}, "a>b t: t; b>a x: x"},
		{"disabled", "never *>* #", []string{"a>b off x", "b>a t"}, ""},
		{"one-sided", "never *>* #", []string{"a", "b>a t"}, ""},
		{"no second hop", "never a>c #", []string{"a>b ", "b>a t", "b>c ", "c>b t"}, ""},
		{"within a site", "never a>a #", []string{"a>b ", "b>a t"}, ""},
		{"what an external site may be sent", "never a>x t", []string{"a>x ", "x external"}, "a>x #: t"},
		{"what it may not", "never a>x t", []string{"a>x export u: ", "x external"}, ""},

		{"there", "always a>b t/1", []string{"a>b ", "b>a t/#"}, ""},
		{"there in parts", "always a>b t/#", []string{"a>b ", "b>a t,t/+/#"}, ""},
		{"missing in part", "always a>b u,t/#,v/#", []string{"a>b ", "b>a u,t/+"}, "a>b t/#,v/#: t"},
		{"missing below", "always a>b t/#", []string{"a>b ", "b>a t/1"}, "a>b t/#: t/x"},
		{"missing, no second hop", "always a>c t", []string{"a>b ", "b>a t", "b>c ", "c>b t"}, "a>c t: t"},
		{"missing, one-sided", "always a>b t", []string{"a", "b>a t"}, "a>b t: t"},
		{"missing, disabled", "always a>b t", []string{"a>b off ", "b>a t"}, "a>b t: t"},
		{"missing, not linked", "always a,b>c,a t", []string{"a", "b", "c"}, "a>c t: t; b>a t: t; b>c t: t"},
		{"nobody", "always a>a t", []string{"a"}, ""},
		{"system topics are not in #", "always a>b $SYS/#", []string{"a>b ", "b>a #"}, "a>b $SYS/#: $SYS/x"},
		{"nothing demanded", "always *>* ", []string{"a", "b"}, ""},
		{"not exported", "always a>x t", []string{"a>x export u: ", "x external"}, "a>x t: t"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fl := fleet(tt.lines...)
			fl.Policies = []topology.Policy{rule(tt.rule)}
			var l []string
			for b := range flow.Breaches(fl) {
				what := b.Crossing
				if b.Policy.Always {
					what = topic.Filter(join(b.Topics))
				}
				l = append(l, fmt.Sprintf("%s>%s %s: %s", b.From, b.To, what, b.Proof))
			}
			if got := strings.Join(l, "; "); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	for range flow.Breaches(nil) {
		t.Error("of nil")
	}
}

func TestBreachesCanBeLeft(t *testing.T) {
	fl := fleet("a>b x,y", "b>a t", "c")
	fl.Policies = []topology.Policy{rule("never *>* #"), rule("always *>* #")}
	for stop := range 5 {
		n := 0
		for range flow.Breaches(fl) {
			if n++; n > stop {
				break
			}
		}
		if n != stop+1 {
			t.Errorf("left after %d, got %d", stop+1, n)
		}
	}
}

// There is a breach between two sites exactly if a message proves it, and the
// topic that it names does prove it.
func TestBreachesAgreeWithEachMessage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fl := drawFleet(t, "")
		p := topology.Policy{Always: rapid.Bool().Draw(t, "always"), Topics: filters(drawTopics(t, "policy"))}
		fl.Policies = []topology.Policy{p}
		speaksOf := func(name string) bool {
			return slices.ContainsFunc(p.Topics, func(f topic.Filter) bool { return f.Match(name) })
		}
		broken := map[[2]string]bool{}
		for b := range flow.Breaches(fl) {
			broken[[2]string{b.From, b.To}] = true
			if !speaksOf(b.Proof) || crosses(fl, b.From, b.To, b.Proof) == p.Always || topic.ValidName(b.Proof) != nil {
				t.Fatalf("%q from %s to %s proves nothing of %+v", b.Proof, b.From, b.To, p)
			}
		}
		for _, from := range fl.Names() {
			for _, to := range fl.Names() {
				for _, name := range names {
					if from != to && !broken[[2]string{from, to}] && speaksOf(name) && crosses(fl, from, to, name) != p.Always {
						t.Fatalf("%q from %s to %s breaks %+v, and is not told", name, from, to, p)
					}
				}
			}
		}
	})
}
