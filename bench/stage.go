package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
)

// A stage is where brokers are measured: a directory that goes when all is over,
// and the programs.
type stage struct {
	dir       string
	mosquitto string // program; "": no peer
	version   string // what mosquitto says of itself
	clinkd    string
}

// setUp looks for the peer before it builds anything: what is missing is said
// at once. The caller removes what there is, also after an error.
func setUp(ctx context.Context, c common, build bool, w io.Writer) (s *stage, err error) {
	s = &stage{}
	if c.profiles != "" {
		if err := os.MkdirAll(c.profiles, 0o777); err != nil {
			return s, err
		}
	}
	fmt.Fprintf(w, "%s/%s, %d processors, %s\n", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
	if !c.alone {
		if s.mosquitto, err = mosquittoProgram(); err != nil {
			return s, err
		}
		s.version = mosquittoVersion(ctx, s.mosquitto)
		fmt.Fprintf(w, "peer: %s, %s\n", s.mosquitto, s.version)
	}
	if s.dir, err = os.MkdirTemp("", "clink-bench-"); err != nil {
		return s, err
	}
	if build {
		s.clinkd, err = buildClinkd(ctx, s.dir)
	}
	return s, err
}

func (s *stage) remove() {
	if s.dir != "" {
		os.RemoveAll(s.dir)
	}
}

// A maker starts one or two brokers in a directory of their own; persistent
// brokers keep what they have there.
type maker struct {
	name  string
	start func(ctx context.Context, dir string) (*pair, error)
}

// startEach starts what each maker makes, in a directory of its own. Stop ends
// it, and must be called whatever is returned; it may be called twice.
func startEach(ctx context.Context, makers []maker, dir string) (pairs []*pair, stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	stop = func() {
		cancel()
		for _, p := range pairs {
			p.wait()
		}
	}
	for _, m := range makers {
		at := filepath.Join(dir, m.name)
		if err := os.MkdirAll(at, 0o777); err != nil {
			return pairs, stop, err
		}
		p, err := m.start(ctx, at)
		pairs = append(pairs, p)
		if err != nil {
			return pairs, stop, err
		}
	}
	return pairs, stop, nil
}
