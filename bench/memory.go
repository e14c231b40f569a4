package main

import (
	"context"
	"regexp"
	"strconv"
)

// A memory is what a process holds, in bytes. The resident size is as it comes,
// with what garbage there is; heap and stacks are what remains of it after a
// garbage collection, and known of clinkd only.
type memory struct {
	RSS    float64 `json:"rss"`
	Heap   float64 `json:"heap,omitempty"`
	Stacks float64 `json:"stacks,omitempty"`
}

// less is how much more m is than before, for each of n things.
func (m memory) less(before memory, n int) memory {
	each := func(x, y float64) float64 { return (x - y) / float64(n) }
	return memory{each(m.RSS, before.RSS), each(m.Heap, before.Heap), each(m.Stacks, before.Stacks)}
}

var memoryLine = regexp.MustCompile(`(?m)^# (HeapAlloc|Stack) = (\d+)`)

// held reads what the i-th process holds.
func (p *pair) held(ctx context.Context, i int) (m memory, err error) {
	m.RSS = float64(usage(p.pids[i : i+1]).RSS)
	if len(p.profile) == 0 {
		return m, nil
	}
	// Twice: what finalizers and pools let go, goes with the second.
	var text []byte
	for range 2 {
		if text, err = get(ctx, "http://"+p.profile[i]+"/debug/pprof/heap?gc=1&debug=1"); err != nil {
			return m, err
		}
	}
	of := map[string]*float64{"HeapAlloc": &m.Heap, "Stack": &m.Stacks}
	for _, f := range memoryLine.FindAllSubmatch(text, -1) {
		if *of[string(f[1])], err = strconv.ParseFloat(string(f[2]), 64); err != nil {
			return m, err
		}
	}
	return m, nil
}
