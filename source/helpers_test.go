package source

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const deadline = time.Minute

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	at := filepath.Join(dir, filepath.FromSlash(name))
	must(t, os.MkdirAll(filepath.Dir(at), 0o755))
	must(t, os.WriteFile(at, []byte(text), 0o644))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, dir string, opts Options) *Dir {
	t.Helper()
	d, err := Open(dir, opts)
	must(t, err)
	return d
}

func snapshot(t *testing.T, d *Dir) *Snapshot {
	t.Helper()
	s, err := d.Snapshot(t.Context())
	must(t, err)
	return s
}

// logged is a log handler that hands on the messages that tests wait for.
type logged struct{ lines chan string }

func (l logged) Enabled(context.Context, slog.Level) bool { return true }
func (l logged) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l logged) WithGroup(string) slog.Handler            { return l }

func (l logged) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(a slog.Attr) bool {
		text += " " + a.String()
		return true
	})
	select {
	case l.lines <- text:
	default: // a test that reads no lines
	}
	return nil
}

// A watch is a running Watch of a directory.
type watch struct {
	t     *testing.T
	d     *Dir
	wakes chan struct{}
	log   logged
}

// startWatch watches dir and waits for the first wake-up.
func startWatch(t *testing.T, dir string, opts Options) *watch {
	t.Helper()
	w := &watch{t: t, wakes: make(chan struct{}, 1000), log: logged{make(chan string, 10000)}}
	opts.Log = slog.New(w.log)
	if opts.Rescan == 0 {
		opts.Rescan = time.Hour // so that it cannot help
	}
	w.d = open(t, dir, opts)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.d.Watch(ctx, func() { w.wakes <- struct{}{} }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Watch = %v", err)
		}
	})
	w.wake()
	return w
}

// wake waits for a wake-up.
func (w *watch) wake() {
	w.t.Helper()
	select {
	case <-w.wakes:
	case <-time.After(deadline):
		w.t.Fatal("no wake-up came")
	}
}

// sees waits for a wake-up after which name has the text ("" for absent).
func (w *watch) sees(name, text string) {
	w.t.Helper()
	for {
		w.wake()
		var got []byte
		s, err := w.d.Snapshot(w.t.Context())
		if err == nil {
			got, _ = s.ReadFile(name)
		}
		if string(got) == text {
			return
		}
	}
}

// line waits for a log line that contains part.
func (w *watch) line(part string) {
	w.t.Helper()
	for {
		select {
		case text := <-w.log.lines:
			if strings.Contains(text, part) {
				return
			}
		case <-time.After(deadline):
			w.t.Fatalf("nothing was logged that contains %q", part)
		}
	}
}

// atOnce does something that takes several steps, and reports whether it was
// over before anybody could have looked at what is in between.
func atOnce(do func()) bool {
	began := time.Now()
	do()
	return time.Since(began) < quiet
}

// quiet checks that nothing woke, and that the watch still works: the event
// that was to be without effect must have been dealt with already.
func (w *watch) quiet() {
	w.t.Helper()
	select {
	case <-w.wakes:
		w.t.Error("a wake-up came where nothing had changed")
	default:
	}
	write(w.t, w.d.Path(), "marker.cue", time.Now().String())
	w.wake()
}
