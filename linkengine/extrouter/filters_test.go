package extrouter

import (
	"fmt"
	"testing"
	"time"

	"clink/linkengine/wire"
)

func TestFilters(t *testing.T) {
	table, now := New(Limits{}), time.Now()
	announce := func(cluster string, filters ...string) {
		a := Actor{Cluster: cluster, Name: "n", Incarnation: 1}
		if _, err := table.Init(now, a); err != nil {
			t.Fatal(err)
		}
		var ops []wire.RouteOp
		for _, f := range filters {
			ops = append(ops, wire.RouteOp{Filter: f, ID: f})
		}
		if refused, err := table.Update(now, a, ops); refused > 0 || err != nil {
			t.Fatal(refused, err)
		}
	}
	mine := []string{"#", "+/x", "a/#", "a/+", "a/x", "a/x/#", "a/y", "$d/x", "a//b", "+/+/b"}
	announce("b", mine...)
	announce("c", "a/x", "other/#", "+/#")
	for name, want := range map[string]string{
		"a/x": "[# +/x a/# a/+ a/x a/x/#]", "a/y": "[# a/# a/+ a/y]", "a": "[# a/#]", "z/x": "[# +/x]",
		"$d/x": "[$d/x]", "$d": "[]", "a//b": "[# +/+/b a/# a//b]", "": "[#]",
	} {
		if got := fmt.Sprint(table.Filters("b", name, 20)); got != want {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
	}
	if got := table.Filters("b", "a/x", 3); len(got) != 3 {
		t.Errorf("asked for three: %q", got)
	}
	if got := table.Filters("nobody", "a/x", 3); len(got) != 0 {
		t.Errorf("of nobody: %q", got)
	}
	for _, f := range mine {
		if !table.Has("b", f) {
			t.Errorf("%s is not there", f)
		}
	}
	for _, f := range []string{"+", "a", "other/#", "+/#", "a/x/+", "a/#/x", "nothing", "x/+"} {
		if table.Has("b", f) {
			t.Errorf("%s is there", f)
		}
	}
}
