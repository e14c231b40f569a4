package reconciler_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"clink/reconciler"
	"clink/topology"
)

func suspension(peer string) topology.Suspension {
	return topology.Suspension{Site: "a", Peer: peer, Reason: "incident 7", By: "ops"}
}

// enabled says of a site's links which run: "b -c" is b enabled, c not.
func (b *bench) enabled(site string) string {
	links, _ := b.sites[site].Links(b.t.Context())
	var names []string
	for name, l := range byName(links) {
		if !l.Enable {
			name = "-" + name
		}
		names = append(names, name)
	}
	return strings.Join(sorted(names), " ")
}

func TestSuspendAndResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, "a", "b")
		if err := b.Suspend(t.Context(), suspension("b")); err == nil || !strings.Contains(err.Error(), "not been loaded yet") {
			t.Errorf("before the first load: %v", err)
		}
		b.goes("r1", "a>b c", "b>a")
		began := time.Now()
		b.told()
		must(t, b.Suspend(t.Context(), suspension("b")))
		if got := b.enabled("a"); got != "-b c" {
			t.Errorf("when Suspend returns there is %s", got)
		}
		s := b.State()
		if len(s.Suspensions) != 1 || s.Suspensions[0].Reason != "incident 7" || s.Suspensions[0].By != "ops" || !s.Suspensions[0].Since.Equal(began) {
			t.Errorf("suspensions %+v", s.Suspensions)
		}
		if got := b.told(); got != "suspended a>b incident 7, applied a>b update" {
			t.Errorf("told %q", got)
		}
		wait(time.Minute)
		again := suspension("b")
		again.Reason = "longer"
		must(t, b.Suspend(t.Context(), again))
		if s := b.State().Suspensions[0]; s.Reason != "longer" || !s.Since.Equal(began) {
			t.Errorf("suspended again: %+v", s)
		}
		b.goes("r2", "a>b=2 c", "b>a") // a change of the source does not end it
		if got := b.enabled("a"); got != "-b c" {
			t.Errorf("after a change there is %s", got)
		}
		b.told()
		must(t, b.Resume(t.Context(), "a", "b", "ops"))
		if got := b.enabled("a"); got != "b c" {
			t.Errorf("when Resume returns there is %s", got)
		}
		if got := b.told(); got != "resumed a>b resumed, applied a>b update" {
			t.Errorf("told %q", got)
		}
		must(t, b.Resume(t.Context(), "a", "b", "ops"))
		if got := b.told(); got != "" {
			t.Errorf("resuming what runs tells %q", got)
		}
	})
}

// A slowLog takes a second for what it says of suspensions.
type slowLog struct{ slog.Handler }

func (s slowLog) Handle(ctx context.Context, r slog.Record) error {
	if strings.HasSuffix(r.Message, "suspended") {
		time.Sleep(time.Second)
	}
	return s.Handler.Handle(ctx, r)
}

// However long a change is on its way, it is told of before what it led to.
func TestSuspensionIsToldBeforeItActs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := prepare(t, 0, "a")
		b.Log = slog.New(slowLog{b.Log.Handler()})
		b.run()
		b.goes("r1", "a>b")
		wait(time.Minute)
		b.told()
		must(t, b.Suspend(t.Context(), suspension("b")))
		must(t, b.Resume(t.Context(), "a", "b", "ops"))
		s := suspension("b")
		s.Until = time.Now().Add(time.Minute)
		must(t, b.Suspend(t.Context(), s))
		wait(2 * time.Minute)
		want := "suspended a>b incident 7, applied a>b update, resumed a>b resumed, applied a>b update, " +
			"suspended a>b incident 7, applied a>b update, resumed a>b expired, applied a>b update"
		if got := b.told(); got != want {
			t.Errorf("told %q, want %q", got, want)
		}
	})
}

func TestSuspendRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, "a")
		b.goes("r1", "a>b", "z>a")
		for name, tt := range map[string]struct {
			change func(*topology.Suspension)
			noLink bool
		}{
			"no such link":       {func(s *topology.Suspension) { s.Peer = "x" }, true},
			"no such site":       {func(s *topology.Suspension) { s.Site = "x" }, true},
			"a site elsewhere":   {func(s *topology.Suspension) { s.Site, s.Peer = "z", "a" }, true},
			"a long reason":      {func(s *topology.Suspension) { s.Reason = strings.Repeat("x", 501) }, false},
			"a reason not UTF-8": {func(s *topology.Suspension) { s.Reason = "\xff" }, false},
			"a long name":        {func(s *topology.Suspension) { s.By = strings.Repeat("x", 201) }, false},
			"an end in the past": {func(s *topology.Suspension) { s.Until = time.Now() }, false},
		} {
			s := suspension("b")
			tt.change(&s)
			if err := b.Suspend(t.Context(), s); err == nil || errors.Is(err, reconciler.ErrNoLink) != tt.noLink {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := b.Resume(t.Context(), "z", "a", ""); !errors.Is(err, reconciler.ErrNoLink) {
			t.Errorf("Resume elsewhere: %v", err)
		}
		if got := b.State().Suspensions; len(got) != 0 {
			t.Errorf("suspensions %+v", got)
		}
	})
}

func TestSuspensionEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startWith(t, time.Hour, "a")
		b.goes("r1", "a>b c d")
		for peer, d := range map[string]time.Duration{"b": time.Minute, "c": 90 * time.Second, "d": 0} {
			s := suspension(peer)
			if d > 0 {
				s.Until = time.Now().Add(d)
			}
			must(t, b.Suspend(t.Context(), s))
		}
		b.told()
		b.mu.Lock()
		b.err = errors.New("unreadable") // what runs is as the last load said
		b.mu.Unlock()
		wait(time.Minute - 1)
		if got := b.enabled("a"); got != "-b -c -d" {
			t.Errorf("before their time there is %s", got)
		}
		wait(1)
		if got := b.enabled("a"); got != "-c -d b" {
			t.Errorf("after a minute there is %s", got)
		}
		wait(30 * time.Second)
		if got := b.enabled("a"); got != "-d b c" {
			t.Errorf("after both there is %s", got)
		}
		if got := b.told(); got != "resumed a>b expired, applied a>b update, resumed a>c expired, applied a>c update" {
			t.Errorf("told %q", got)
		}
		wait(24 * time.Hour)
		if got := b.enabled("a"); got != "-d b c" {
			t.Errorf("a day later there is %s", got)
		}
	})
}

func TestSuspensionGoesWithItsLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, "a")
		b.goes("r1", "a>b c")
		must(t, b.Suspend(t.Context(), suspension("b")))
		b.told()
		b.wants("r2", "a>c")
		b.hold(topology.Held{Site: "a", Peer: "b", Rule: "schema"}) // not known of
		b.Wake()
		synctest.Wait()
		if n := len(b.State().Suspensions); n != 1 {
			t.Errorf("%d suspensions while the link is held back", n)
		}
		b.told()
		b.goes("r3", "a>c")
		if got := b.told(); !strings.Contains(got, "resumed a>b link-gone") || len(b.State().Suspensions) != 0 {
			t.Errorf("told %q, left %+v", got, b.State().Suspensions)
		}
		b.goes("r4", "a>b c")
		if got := b.enabled("a"); got != "b c" {
			t.Errorf("a link that comes back: %s", got)
		}
	})
}

func TestSuspensionsOutliveTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dirs := map[string]string{"a": t.TempDir(), "b": t.TempDir()}
		process := func() *bench {
			b := prepare(t, time.Hour, "a", "b")
			b.DataDirs = dirs
			b.wants("r1", "a>b c d", "b>a")
			b.run()
			return b
		}
		first := process()
		for _, peer := range []string{"b", "c"} {
			s := suspension(peer)
			if peer == "c" {
				s.Until = time.Now().Add(time.Minute)
			}
			must(t, first.Suspend(t.Context(), s))
		}
		must(t, first.Suspend(t.Context(), topology.Suspension{Site: "b", Peer: "a"}))
		want := first.State().Suspensions
		first.stop()

		second := process()
		got := second.State().Suspensions
		if len(got) != len(want) || len(want) != 3 || got[0].Reason != want[0].Reason || !got[1].Until.Equal(want[1].Until) || !got[0].Since.Equal(want[0].Since) {
			t.Errorf("after a restart %+v, want %+v", got, want)
		}
		second.sites["a"].mu.Lock()
		did := strings.Join(second.sites["a"].did, ", ")
		second.sites["a"].mu.Unlock()
		if second.enabled("a") != "-b -c d" || did != "create b, create c, create d" {
			t.Errorf("after a restart %s, by %s", second.enabled("a"), did)
		}
		second.stop()
		wait(2 * time.Minute) // nobody is there when c's time is over

		file := filepath.Join(dirs["b"], "suspended")
		must(t, os.WriteFile(file, []byte("garbage"), 0o600))
		third := process()
		if got := third.enabled("a"); got != "-b c d" {
			t.Errorf("after the third start there is %s", got)
		}
		if got := third.told(); !strings.Contains(got, "failed b suspensions") || !strings.Contains(got, "resumed a>c expired") {
			t.Errorf("told %q", got)
		}
		if kept, err := os.ReadFile(file + ".unusable"); err != nil || string(kept) != "garbage" {
			t.Errorf("what could not be read is kept as %q, %v", kept, err)
		}
	})
}

func TestSuspendThatCannotBeKeptOrDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := prepare(t, time.Hour, "a")
		b.DataDirs = map[string]string{"a": filepath.Join(t.TempDir(), "none")}
		b.wants("r1", "a>b")
		b.run()
		if err := b.Suspend(t.Context(), suspension("b")); err == nil || len(b.State().Suspensions) != 0 || b.enabled("a") != "b" {
			t.Errorf("without its directory: %v, %s", err, b.enabled("a"))
		}
		b.DataDirs["a"] = ""
		b.sites["a"].mu.Lock()
		b.sites["a"].hangs["b"] = true
		b.sites["a"].mu.Unlock()
		began := time.Now()
		err := b.Suspend(t.Context(), suspension("b"))
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 10*time.Second || len(b.State().Suspensions) != 1 {
			t.Errorf("while the site hangs, after %v: %v", time.Since(began), err)
		}
	})
}
