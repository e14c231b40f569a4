package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"
)

// vetOptions are the flags of bench vet, checked.
type vetOptions struct {
	rounds int
	cases  []vetCase
	alone  bool // no peer
}

func parseVet(args []string) (vetOptions, error) {
	var o vetOptions
	fs := flag.NewFlagSet("bench vet", flag.ContinueOnError)
	fs.IntVar(&o.rounds, "rounds", 3, "`times` each case is measured, peer and clinkc in turn")
	names := fs.String("cases", "", "`list` of topologies instead of all: "+strings.Join(vetCaseNames(), ","))
	fs.BoolVar(&o.alone, "alone", false, "without cue vet: absolute figures only")
	return o, parseFlags(fs, args, func() (err error) {
		if o.rounds < 1 || o.rounds > 100 {
			return fmt.Errorf("-rounds %d: from 1 to 100", o.rounds)
		}
		o.cases, err = chooseVetCases(*names)
		return err
	})
}

// A cost is what one run of a program took.
type cost struct {
	cpu  time.Duration // user and system
	peak int64         // bytes resident; 0: not known on this system
}

// compareVet measures clinkc vet, and cue vet -c with the published schema, on
// the same directories, and prints the outcome.
func compareVet(ctx context.Context, o vetOptions, w io.Writer) error {
	at, err := setUp(ctx, common{alone: true}, false, w)
	defer at.remove()
	if err != nil {
		return err
	}
	dir := at.dir
	clinkc := filepath.Join(dir, "clinkc")
	if err := runQuiet(ctx, "", nil, "go", "build", "-o", clinkc, "clink/cmd/clinkc"); err != nil {
		return err
	}
	cue := ""
	if !o.alone {
		if cue, err = buildCue(ctx, dir, w); err != nil {
			return err
		}
	}
	fmt.Fprintln(w, "\n| topology | sites | links | clinkc vet: CPU, peak | cue vet -c: CPU, peak | CPU ratio | memory ratio |\n|---|---|---|---|---|---|---|")
	var sizes, costs []float64
	for _, c := range o.cases {
		at := filepath.Join(dir, c.name)
		if err := c.write(at); err != nil {
			return err
		}
		if err := runQuiet(ctx, "", nil, clinkc, "schema", at); err != nil {
			return err
		}
		mine, peer, err := measureVet(ctx, o.rounds, at, clinkc, cue)
		if err != nil {
			return err
		}
		vetLine(w, c, mine, peer)
		if c.growth {
			sizes, costs = append(sizes, float64(c.links())), append(costs, median(secondsOf(mine)))
		}
	}
	if len(sizes) > 1 {
		fmt.Fprintf(w, "\nCPU time of clinkc vet grows with the number of links to the power of %.2f (k20-100, k20-300 and k20-1000).\n", exponent(sizes, costs))
	}
	return compareEdits(ctx, o, dir, clinkc, w)
}

// buildCue builds the cue command of the version that clinkc is built with.
func buildCue(ctx context.Context, dir string, w io.Writer) (string, error) {
	info, ok := debug.ReadBuildInfo()
	version := ""
	if ok {
		for _, m := range info.Deps {
			if m.Path == "cuelang.org/go" {
				version = m.Version
			}
		}
	}
	if version == "" {
		out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Version}}", "cuelang.org/go").Output()
		if err != nil {
			return "", fmt.Errorf("find the version of cuelang.org/go: %w", err)
		}
		version = strings.TrimSpace(string(out))
	}
	fmt.Fprintf(w, "peer: cue vet -c, %s, with the schema that clinkc schema writes\n", version)
	err := runQuiet(ctx, dir, []string{"GOBIN=" + dir, "GOFLAGS="}, "go", "install", "cuelang.org/go/cmd/cue@"+version)
	return filepath.Join(dir, "cue"), err
}

func measureVet(ctx context.Context, rounds int, at, clinkc, cue string) (mine, peer []cost, err error) {
	for range rounds {
		if cue != "" {
			c, err := measureOne(ctx, at, cue, "vet", "-c", ".")
			if err != nil {
				return nil, nil, err
			}
			peer = append(peer, c)
		}
		c, err := measureOne(ctx, at, clinkc, "vet", ".")
		if err != nil {
			return nil, nil, err
		}
		mine = append(mine, c)
	}
	return mine, peer, nil
}

// measureOne runs a program to its end, which must be a good one.
func measureOne(ctx context.Context, dir, program string, args ...string) (cost, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return cost{}, fmt.Errorf("%s %s: %w\n%.2000s", filepath.Base(program), strings.Join(args, " "), err, out)
	}
	return cost{cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), peakOf(cmd.ProcessState)}, nil
}

func runQuiet(ctx context.Context, dir string, env []string, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%.2000s", filepath.Base(program), strings.Join(args, " "), err, out)
	}
	return nil
}

func vetLine(w io.Writer, c vetCase, mine, peer []cost) {
	cell := func(l []cost) string {
		if len(l) == 0 {
			return ""
		}
		return fmt.Sprintf("%.2f s, %.0f MB", median(secondsOf(l)), median(peaksOf(l)))
	}
	cpu, mem := "", ""
	if len(peer) > 0 {
		cpu = spreadOf(ratios(secondsOf(mine), secondsOf(peer)))
		mem = spreadOf(ratios(peaksOf(mine), peaksOf(peer)))
	}
	fmt.Fprintf(w, "| %s | %d | %d | %s | %s | %s | %s |\n", c.name, c.sites, c.links(), cell(mine), cell(peer), cpu, mem)
}

// ratios are those of the rounds; none where the peer's figures are not known.
func ratios(a, b []float64) []float64 {
	l := make([]float64, len(a))
	for i := range a {
		if b[i] == 0 {
			return nil
		}
		l[i] = a[i] / b[i]
	}
	return l
}

func secondsOf(l []cost) []float64 {
	xs := make([]float64, len(l))
	for i, c := range l {
		xs[i] = c.cpu.Seconds()
	}
	return xs
}

func peaksOf(l []cost) []float64 {
	xs := make([]float64, len(l))
	for i, c := range l {
		xs[i] = float64(c.peak) / 1e6
	}
	return xs
}

// exponent is the slope of the costs over the sizes, both as logarithms.
func exponent(sizes, costs []float64) float64 {
	var sx, sy, sxx, sxy float64
	for i := range sizes {
		x, y := math.Log(sizes[i]), math.Log(costs[i])
		sx, sy, sxx, sxy = sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	n := float64(len(sizes))
	return (n*sxy - sx*sy) / (n*sxx - sx*sx)
}
