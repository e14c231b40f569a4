package topology_test

import (
	"testing"

	"clink/topic"
	"clink/topology"
)

func TestSelectorChooses(t *testing.T) {
	site := func(name string, labels map[string]string) *topology.Site {
		return &topology.Site{Name: name, Labels: labels}
	}
	eu := site("plant", map[string]string{"region": "eu", "kind": "plant"})
	bare := site("lab", nil)
	odd := site("x", map[string]string{"site": "plant"})
	is := func(label string, values ...string) topology.Choice {
		return topology.Choice{Label: label, Values: values}
	}
	tests := []struct {
		name     string
		selector topology.Selector
		want     [3]bool // eu, bare, odd
	}{
		{"all", nil, [3]bool{true, true, true}},
		{"a name", topology.Selector{is("site", "plant")}, [3]bool{true, false, false}},
		{"names", topology.Selector{is("site", "plant", "lab")}, [3]bool{true, true, false}},
		{"not a name", topology.Selector{is("site", "!plant")}, [3]bool{false, true, true}},
		{"neither name", topology.Selector{is("site", "!plant", "!lab")}, [3]bool{false, false, true}},
		{"a label", topology.Selector{is("region", "eu")}, [3]bool{true, false, false}},
		{"not a label, which one without has not", topology.Selector{is("region", "!eu")}, [3]bool{false, true, true}},
		{"one of two but not the third", topology.Selector{is("site", "plant", "lab", "!lab")}, [3]bool{true, false, false}},
		{"both labels", topology.Selector{is("kind", "plant"), is("region", "!us")}, [3]bool{true, false, false}},
		{"both labels, one of which is another", topology.Selector{is("kind", "plant"), is("region", "us")}, [3]bool{}},
		{"no value", topology.Selector{is("region")}, [3]bool{}},
		{"without the label", topology.Selector{is("region", "")}, [3]bool{false, true, true}},
		{"with the label, whatever it is", topology.Selector{is("region", "!")}, [3]bool{true, false, false}},
	}
	for _, tt := range tests {
		for i, s := range []*topology.Site{eu, bare, odd} {
			if got := tt.selector.Chooses(s); got != tt.want[i] {
				t.Errorf("%s chooses %s: %v", tt.name, s.Name, got)
			}
		}
	}
}

func TestPolicyEqual(t *testing.T) {
	p := topology.Policy{Name: "p", Topics: []topic.Filter{"t"}, From: topology.Selector{{Label: "site", Values: []string{"a"}}}}
	q := p
	q.Pos.Line = 7
	if !p.Equal(q) {
		t.Error("the position counts")
	}
	for name, change := range map[string]func(*topology.Policy){
		"name":   func(p *topology.Policy) { p.Name = "q" },
		"always": func(p *topology.Policy) { p.Always = true },
		"topics": func(p *topology.Policy) { p.Topics = []topic.Filter{"u"} },
		"from":   func(p *topology.Policy) { p.From = topology.Selector{{Label: "site", Values: []string{"b"}}} },
		"to":     func(p *topology.Policy) { p.To = topology.Selector{{Label: "site", Values: []string{"b"}}} },
	} {
		q := p
		if change(&q); p.Equal(q) {
			t.Errorf("%s does not count", name)
		}
	}
}
