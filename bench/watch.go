package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// verdictMark ends what clinkc vet --watch says of one state of the source.
const verdictMark = "; waiting for a change\n"

// compareEdits measures what clinkc vet --watch takes for a verdict after one
// file was changed. It has no peer: cue vet does not watch.
func compareEdits(ctx context.Context, o vetOptions, dir, clinkc string, w io.Writer) error {
	fmt.Fprintln(w, "\n| one file changed, vet --watch | sites | links | CPU to the verdict |\n|---|---|---|---|")
	for _, c := range o.cases {
		if !c.edited {
			continue
		}
		costs, err := measureEdits(ctx, o.rounds, c, dir, clinkc)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "| %s | %d | %d | **%.2f s** (%.2f to %.2f) |\n", c.name, c.sites, c.links(), median(costs), slices.Min(costs), slices.Max(costs))
	}
	return nil
}

// measureEdits changes one site after the other, with a topic more in each of
// its links, and returns the seconds of processor time that each verdict took.
func measureEdits(ctx context.Context, rounds int, c vetCase, dir, clinkc string) ([]float64, error) {
	at := filepath.Join(dir, c.name)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	p, err := start(ctx, dir, "watch-"+c.name, clinkc, "vet", "--watch", at)
	if err != nil {
		return nil, err
	}
	defer func() {
		stop()
		<-p.done
	}()
	if err := p.verdicts(ctx, 1); err != nil {
		return nil, err
	}
	var costs []float64
	for i := range rounds {
		before := usage([]int{p.cmd.Process.Pid}).CPU
		text := c.site(i%c.sites, fmt.Sprintf("edited/%d/#", i))
		if err := os.WriteFile(filepath.Join(at, siteName(i%c.sites)+".cue"), []byte(text), 0o666); err != nil {
			return nil, err
		}
		if err := p.verdicts(ctx, i+2); err != nil {
			return nil, err
		}
		costs = append(costs, (usage([]int{p.cmd.Process.Pid}).CPU - before).Seconds())
	}
	return costs, nil
}

// verdicts waits until n verdicts were given.
func (p *process) verdicts(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		said, err := os.ReadFile(p.logPath)
		if err != nil {
			return err
		}
		switch got := bytes.Count(said, []byte(verdictMark)); {
		case got == n:
			return nil
		case got > n:
			return p.fault(fmt.Sprintf("gave %d verdicts for %d states", got, n))
		}
		select {
		case <-tick.C:
		case <-p.done:
			return p.fault("ended before its verdict")
		case <-ctx.Done():
			return p.fault("gave no verdict")
		}
	}
}
