package httpapi_test

import (
	"context"
	"os"
	"testing"

	"clink/compiler"
	"clink/httpapi"
	"clink/topology"
)

// compiled observes a topology that was compiled from source.
type compiled struct {
	*world
	t *topology.Topology
}

func (c compiled) Topology() (*topology.Topology, string) { return c.t, "r1" }

// Whatever the compiler gives is answered in the form that the document has.
func TestTopologiesOfTheExamples(t *testing.T) {
	const dir = "../examples/topologies"
	examples, err := os.ReadDir(dir)
	if err != nil || len(examples) == 0 {
		t.Fatalf("%d examples, %v", len(examples), err)
	}
	for _, e := range examples {
		res, err := compiler.Compile(context.Background(), os.DirFS(dir+"/"+e.Name()), compiler.Options{})
		if err != nil {
			t.Fatalf("%s: %v", e.Name(), err)
		}
		w := newWorld(t)
		srv := serveWith(t, w, httpapi.Options{Observer: compiled{w, res.Topology}})
		if res, body := request(t, "GET", srv.URL+"/topology", admin); res.StatusCode != 200 || len(body) < 500 {
			t.Errorf("%s: %d %s", e.Name(), res.StatusCode, body)
		}
	}
}
