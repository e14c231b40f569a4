package main

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clink/compiler"
)

// The topologies that are measured must be clean, and as large as is said.
func TestVetTopologiesAreClean(t *testing.T) {
	for _, c := range vetCases() {
		c.sites = min(c.sites, 40)
		if testing.Short() {
			c.sites = min(c.sites, 22) // the least that keeps each one's shape
		}
		dir := t.TempDir()
		if err := c.write(dir); err != nil {
			t.Fatal(err)
		}
		res, err := compiler.Compile(t.Context(), os.DirFS(dir), compiler.Options{Now: time.Now(), ReadFile: func(name string) ([]byte, error) { return os.ReadFile(filepath.Join(dir, name)) }})
		if err != nil {
			t.Fatal(err)
		}
		if len(res.Findings) > 0 || len(res.Topology.Sites) != c.sites || res.Topology.Links() != c.links() {
			t.Errorf("%s: %d sites, %d links, want %d, %d: %v", c.name, len(res.Topology.Sites), res.Topology.Links(), c.sites, c.links(), res.Findings)
		}
	}
}

func TestVetOptions(t *testing.T) {
	for args, want := range map[string]string{
		"":                          "",
		"-cases ring-300,mesh-100":  "",
		"-cases ring":               `no topology is called "ring"`,
		"-rounds 0":                 "from 1 to 100",
		"-rounds 3 more":            `unexpected argument "more"`,
		"-alone -cases k20-1000":    "",
		"-cases k20-1000,,mesh-100": `no topology is called ""`,
	} {
		o, err := parseVet(strings.Fields(args))
		switch {
		case want == "" && (err != nil || len(o.cases) == 0):
			t.Errorf("%q: %v, %d cases", args, err, len(o.cases))
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: %v, want %q", args, err, want)
		}
	}
}

func TestExponent(t *testing.T) {
	for _, want := range []float64{0, 1, 1.5, 2} {
		var sizes, costs []float64
		for _, n := range []float64{100, 700, 5000} {
			sizes, costs = append(sizes, n), append(costs, 3*math.Pow(n, want))
		}
		if got := exponent(sizes, costs); math.Abs(got-want) > 1e-9 {
			t.Errorf("got %v, want %v", got, want)
		}
	}
}

func TestVetLine(t *testing.T) {
	var b strings.Builder
	c, _ := chooseVetCases("mesh-100")
	vetLine(&b, c[0], []cost{{time.Second, 100e6}, {3 * time.Second, 200e6}, {2 * time.Second, 300e6}}, []cost{{2 * time.Second, 200e6}, {4 * time.Second, 200e6}, {4 * time.Second, 200e6}})
	const want = "| mesh-100 | 100 | 9900 | 2.00 s, 200 MB | 4.00 s, 200 MB | **0.50** (0.50 to 0.75) | **1.00** (0.50 to 1.50) |\n"
	if b.String() != want {
		t.Errorf("got  %swant %s", b.String(), want)
	}
}
