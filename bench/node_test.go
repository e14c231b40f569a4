package main

import (
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"clink/compiler"
)

func TestNodeOptions(t *testing.T) {
	for args, want := range map[string]string{
		"":                                    "",
		"-fans 3:7,1:1 -clients 0":            "",
		"-fans= -retained 5 -restart":         "",
		"-fans 1":                             `-fans: "1" is not publishers:subscribers`,
		"-fans 1:0":                           `-fans: "1:0" is not publishers:subscribers`,
		"-fans 1:2x":                          `-fans: "1:2x" is not publishers:subscribers`,
		"-size 19":                            "-size is from 20",
		"-clients -1":                         "-clients is from 0",
		"-rounds 0":                           "-rounds and -duration must be more than 0",
		"-retained 10000001":                  "-retained is from 0",
		"-qos 2":                              `-qos: "2" is not a number between 0 and 1`,
		"-clinkd --log-level=debug surplus":   `unexpected argument "surplus"`,
		"-target 127.0.0.1:1,127.0.0.1:2 1:1": "flag provided but not defined: -target",
	} {
		o, err := parseNode(strings.Fields(args))
		switch {
		case want == "" && (err != nil || len(o.qos) != 2):
			t.Errorf("%q: %v, QoS %v", args, err, o.qos)
		case want != "" && (!errors.Is(err, errUsage) || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: got %v, want %q", args, err, want)
		}
	}
	o, err := parseNode([]string{"-fans", "3:7, 1:1"})
	if want := []fan{{3, 7}, {1, 1}}; err != nil || !slices.Equal(o.fans, want) {
		t.Errorf("got %v, %v; want %v", o.fans, err, want)
	}
}

func TestSizeLine(t *testing.T) {
	s := func(x float64) size {
		d := time.Duration(x * float64(time.Second))
		return size{connect: d, client: memory{x * 1024, 2 * x * 1024, 3 * x * 1024}, retain: d, fetch: d, fetched: int(10 * x), again: d, refound: int(20 * x), restarts: true}
	}
	for want, o := range map[string]nodeOptions{
		"| x | 2.00 s | 2.0 KiB | 4.0 KiB, 6.0 KiB | 2.00 s | 20 in 2.00 s | 40 in 2.00 s |\n": {clients: 1, retained: 1},
		"| x | - | - | - | 2.00 s | 20 in 2.00 s | 40 in 2.00 s |\n":                           {retained: 1},
	} {
		var b strings.Builder
		sizeLine(&b, "x", o, []size{s(1), s(9), s(2)})
		if b.String() != want {
			t.Errorf("got  %swant %s", b.String(), want)
		}
	}
}

// builtStage has clinkd, and no peer.
func builtStage(t *testing.T) *stage {
	t.Helper()
	s, err := setUp(t.Context(), common{alone: true}, true, io.Discard)
	t.Cleanup(s.remove)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What is started must be what the README says, and the books must balance.
func TestNodeIsMeasured(t *testing.T) {
	o, err := parseNode(strings.Fields("-alone -rounds 1 -duration 100ms -warm-up 10ms -fans 2:3 -clients 200 -retained 300"))
	if err != nil {
		t.Fatal(err)
	}
	st := builtStage(t)
	makers := st.nodes(true, false)
	var out strings.Builder
	if err := compareFans(t.Context(), o, makers, st.dir, &out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "| QoS 1, 64 B, 2:3 | ") || !strings.Contains(out.String(), "clinkd 0, 0, 0") {
		t.Errorf("got\n%s", &out)
	}
	s, err := measureSize(t.Context(), o, makers[0], st.dir+"/size")
	if err != nil || s.connect <= 0 || s.client.Stacks <= 0 || s.retain <= 0 || s.fetched != 300 {
		t.Errorf("got %+v, %v", s, err)
	}
	res, err := compiler.Compile(t.Context(), os.DirFS(st.dir+"/size/clinkd/topology"), compiler.Options{Now: time.Now()})
	if err != nil || len(res.Findings) > 0 {
		t.Errorf("the topology: %v, %v", res.Findings, err)
	}
}

// Whoever runs it: started by root, mosquitto becomes a user who must not write
// into the directory that was made for it, unless it is told to stay.
func TestMosquittoKeepsWhatIsRetained(t *testing.T) {
	program, err := mosquittoProgram()
	if err != nil {
		t.Skip(err)
	}
	st := &stage{mosquitto: program}
	o := nodeOptions{size: 20, retained: 50, restart: true}
	s, err := measureSize(t.Context(), o, st.mosquittoNode(true), t.TempDir())
	if err != nil || s.fetched != 50 || s.refound != 50 {
		t.Errorf("%d retained messages, %d after a restart: %v", s.fetched, s.refound, err)
	}
}
