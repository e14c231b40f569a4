package linkengine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"clink/internal/atomicfile"
)

// What the peers announced is kept in a file, so that a message that is
// published after a restart, and before its peer has announced anew, finds its
// route and waits for the peer instead of being lost. The file is as old as the
// last time it was written; nothing depends on it but that.
const (
	routesFile    = "peer-routes"
	maxRoutesFile = 1 << 30
	rememberEvery = 2 * time.Second
)

func (e *Engine) routesPath() string { return filepath.Join(e.opts.DataDir, routesFile) }

// recall serves the peers' routes of the run before.
func (e *Engine) recall() {
	if e.opts.DataDir == "" {
		return
	}
	n, err := e.readRoutes()
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		e.log.Warn("the peers' routes of the last run cannot be used: messages for a peer are not kept before it has announced its routes", "file", e.routesPath(), "err", err)
	case n > 0:
		e.log.Info("the peers' routes of the last run are served until they are announced anew", "routes", n)
	}
}

func (e *Engine) readRoutes() (int, error) {
	info, err := os.Stat(e.routesPath())
	if err != nil {
		return 0, err
	}
	if info.Size() > maxRoutesFile {
		return 0, fmt.Errorf("it is larger than %d bytes", int64(maxRoutesFile))
	}
	saved, err := os.ReadFile(e.routesPath())
	if err != nil {
		return 0, err
	}
	return e.ext.Load(time.Now(), saved)
}

// remember writes the peers' routes from time to time. A table that takes long
// to write is written less often.
func (e *Engine) remember(ctx context.Context) {
	due := time.NewTimer(rememberEvery)
	defer due.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-due.C:
			began := time.Now()
			e.writeRoutes()
			due.Reset(max(rememberEvery, 20*time.Since(began)))
		}
	}
}

// writeRoutes writes the peers' routes if they have changed.
func (e *Engine) writeRoutes() {
	version := e.ext.Version()
	if e.opts.DataDir == "" || version == e.written {
		return
	}
	if err := atomicfile.ReplaceBy(e.routesPath(), e.ext.Save); err != nil {
		e.fault("", "the peers' routes are not kept: messages published after a restart may find none", "err", err.Error())
		return
	}
	e.written = version
}

// recalled reports whether routes of the peer are those of the run before, and
// it has not been heard since.
func (l *link) recalled() bool {
	return !l.gate.visited() && slices.Contains(l.ext.Past(), l.peer)
}

// takeEarly lets messages wait for a peer ere the link itself starts: those that
// it wants as far as that is known from the run before, and those that it may.
func (l *link) takeEarly() {
	if cfg := *l.cfg.Load(); cfg.Enable {
		if l.recalled() {
			l.gate.lose(time.Now())
		}
		l.startDoubt()
		l.openDisk(cfg)
		l.park(l.newForwarder(cfg))
		l.early = true
	}
}
