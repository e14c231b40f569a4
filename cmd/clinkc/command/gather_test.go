package command

import (
	"reflect"
	"testing"

	"clink/diagnostic"
)

// What comes from one line is told once, with all sites; what only has the same
// place, or another severity, is not.
func TestGathered(t *testing.T) {
	at := diagnostic.Pos{File: "a.cue", Line: 1, Column: 2}
	link := func(site, peer string) []diagnostic.Scope { return []diagnostic.Scope{{Site: site, Peer: peer}} }
	l := diagnostic.List{
		{Rule: "x", Message: "a is b", Pos: at, Sites: []string{"a", "b"}, Links: link("a", "b"), Shared: true},
		{Rule: "x", Message: "c is b", Pos: at, Sites: []string{"c", "b"}, Links: append(link("c", "b"), link("d", "b")...), Shared: true},
		{Rule: "y", Message: "one", Pos: at, Sites: []string{"a"}},
		{Rule: "y", Message: "two", Pos: at, Sites: []string{"b"}},
		{Rule: "x", Message: "alone", Pos: at, Severity: diagnostic.Error, Sites: []string{"a"}, Shared: true},
	}
	var got []string
	var sites [][]string
	for _, d := range gathered(l) {
		got, sites = append(got, d.Message), append(sites, d.Sites)
	}
	if want := []string{"a is b; 2 more of the kind come from here", "one", "two", "alone"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if want := [][]string{{"a", "b", "c"}, {"a"}, {"b"}, {"a"}}; !reflect.DeepEqual(sites, want) {
		t.Errorf("sites are %q, want %q", sites, want)
	}
	if l[0].Message != "a is b" || len(l[0].Sites) != 2 {
		t.Errorf("the list itself was changed: %v", l[0])
	}
}
