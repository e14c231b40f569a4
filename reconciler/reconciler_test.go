package reconciler_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"clink/reconciler"
	"clink/topology"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestLeastChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, "a", "b")
		b.goes("r1", "a>b c", "b>a", "c>a")
		b.did("a", "create b, create c")
		b.did("b", "create a")
		if got := b.sites["a"].configured; got == nil || got.Name != "a" {
			t.Errorf("site a is configured as %+v", got)
		}
		b.goes("r2", "a>b c=2", "b>a", "c>a")
		b.did("a", "update c")
		b.did("b", "")
		b.goes("r3", "a>d e", "b>a")
		b.did("a", "delete b, delete c, create d, create e")
		s := b.State()
		if s.Revision != "r3" || s.Commit != "c-r3" || s.Sites["a"].Revision != "r3" || s.Sites["b"].Revision != "r3" {
			t.Errorf("State = %+v", s)
		}
		if want := map[string]uint64{"create": 5, "update": 1, "delete": 2}; !maps.Equal(s.Changes, want) {
			t.Errorf("Changes = %v, want %v", s.Changes, want)
		}
		var got []string
		for _, p := range s.History {
			got = append(got, fmt.Sprintf("%s %d %s", p.Revision, p.Changes, p.Error))
		}
		if want := []string{"r3 4 ", "r2 1 ", "r1 3 ", " 0 no source yet"}; !slices.Equal(got, want) {
			t.Errorf("History = %q, want %q", got, want)
		}
	})
}

func TestResyncMendsDrift(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, "a")
		b.goes("r1", "a>b")
		b.did("a", "create b")
		a := b.sites["a"]
		a.mu.Lock()
		delete(a.links, "b")
		a.links["x"] = topology.Link{Name: "x"}
		a.mu.Unlock()
		wait(29 * time.Second)
		b.did("a", "")
		wait(time.Second)
		b.did("a", "delete x, create b")
		if n := len(b.State().History); n != 2 {
			t.Errorf("a look again makes an entry in the history, which has %d", n)
		}
	})
}

func TestFailureHoldsUpNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, "a", "b", "c")
		began := time.Now()
		b.sites["a"].set("c", errors.New("refused"))
		b.sites["b"].set("configure", errors.New("port taken"))
		b.sites["c"].set("links", errors.New("unreachable"))
		b.goes("r1", "a>b c d", "b>a", "c>a")
		b.did("a", "(create c), create b, create d")
		b.did("b", "create a")
		b.did("c", "")
		s := b.State()
		for site, want := range map[string]reconciler.Failure{
			"a": {Peer: "c", Op: "create", Error: "refused", Since: began, Tries: 1, Next: began.Add(time.Second)},
			"b": {Op: "configure", Error: "port taken", Since: began, Tries: 1, Next: began.Add(time.Second)},
			"c": {Op: "links", Error: "unreachable", Since: began, Tries: 1, Next: began.Add(time.Second)},
		} {
			if got := s.Sites[site]; len(got.Failures) != 1 || got.Failures[0] != want || got.Revision != "r1" {
				t.Errorf("site %s: %+v, want %+v", site, got, want)
			}
		}
		if got, want := s.History[0].Error, "a: create c: refused\nb: configure : port taken\nc: links : unreachable"; got != want {
			t.Errorf("the history says %q, want %q", got, want)
		}
		// After 1, 2 and 4 seconds it is tried again, without a load.
		loads := b.loads
		for _, gap := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second} {
			wait(gap - 1)
			b.did("a", "")
			wait(1)
			b.did("a", "(create c)")
		}
		if b.loads != loads {
			t.Errorf("%d loads to try again", b.loads-loads)
		}
		if f := b.State().Sites["a"].Failures[0]; f.Tries != 4 || f.Since != began {
			t.Errorf("after four tries: %+v", f)
		}
		b.sites["a"].set("c", nil)
		b.sites["b"].set("configure", nil)
		b.sites["c"].set("links", nil)
		wait(8 * time.Second)
		b.did("a", "create c")
		b.did("c", "create a")
		for name, got := range b.State().Sites {
			if len(got.Failures) != 0 {
				t.Errorf("site %s: %+v", name, got.Failures)
			}
		}
		if p := b.State().History[0]; p.Error != "" || p.Changes != 5 {
			t.Errorf("the history ends with %+v", p)
		}
		if n := strings.Count(b.log.String(), "refused"); n != 1 {
			t.Errorf("the same error is logged %d times:\n%s", n, b.log)
		}
	})
}

func TestBackoffEndsAtThirtySeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startWith(t, time.Hour, "a")
		b.sites["a"].set("b", errors.New("refused"))
		b.goes("r1", "a>b")
		wait(10 * time.Minute)
		// At 0, 1, 3, 7, 15 and 31 s, and then each 30 s: 18 more until 571 s.
		if tries := strings.Count(b.sites["a"].done(), "(create b)"); tries != 24 {
			t.Errorf("%d tries in ten minutes, want 24", tries)
		}
	})
}

func TestOnlyWhatIsDueIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startWith(t, time.Hour, "a")
		a := b.sites["a"]
		a.set("b", errors.New("refused"))
		b.goes("r1", "a>b")
		wait(4 * time.Second) // b was tried at 0, 1 and 3 s, and is due at 7 s
		a.set("c", errors.New("refused"))
		b.goes("r2", "a>b c") // both at 4 s; b is due at 12 s, c at 5 s
		a.done()
		wait(time.Second)
		b.did("a", "(create c)")
		wait(2 * time.Second)
		b.did("a", "(create c)")
		wait(4 * time.Second)
		b.did("a", "(create c)")
		wait(time.Second)
		b.did("a", "(create b)")

		// While the links cannot be asked for, their own times do not count.
		a.set("links", errors.New("unreachable"))
		wait(time.Minute)
		b.did("a", "")
		var links reconciler.Failure
		for _, f := range b.State().Sites["a"].Failures {
			if f.Op == "links" {
				links = f
			}
		}
		if links.Tries < 5 || links.Tries > 7 {
			t.Errorf("in a minute the links are asked for %d times", links.Tries)
		}
		a.set("links", nil)
		b.goes("r3", "a>")
		if f := b.State().Sites["a"].Failures; len(f) != 0 {
			t.Errorf("links that are no longer wanted fail: %+v", f)
		}
	})
}

func TestLoadIsTriedAgainSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startWith(t, time.Hour, "a")
		wait(time.Minute)
		for range 2 {
			b.goes("r1", "a>b")
			b.mu.Lock()
			b.err = errors.New("unreadable")
			before := b.loads
			b.mu.Unlock()
			b.Wake()
			synctest.Wait()
			wait(3 * time.Second)
			if b.loads-before != 3 { // at 0, 1 and 3 s
				t.Errorf("%d loads in three seconds, want 3", b.loads-before)
			}
		}
	})
}

func TestHangingSiteHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, "a", "b")
		b.sites["a"].hangs["x"] = true
		b.goes("r1", "a>x y", "b>a")
		b.did("b", "") // the other end of the link may come any moment
		wait(2 * time.Second)
		b.did("b", "create a")
		b.goes("r2", "a>x y", "b>a c")
		wait(2 * time.Second)
		b.did("b", "create c")
		if err := b.Wait(t.Context(), "r2", "b"); err != nil {
			t.Error(err)
		}
		if s := b.State(); s.Sites["a"].Revision != "" || s.Duration != 0 {
			t.Errorf("while a hangs: %+v", s)
		}
		wait(26 * time.Second) // the turn is given up
		b.did("a", "(create x)")
		f := b.State().Sites["a"].Failures
		if len(f) != 2 || f[0].Peer != "x" || f[1].Peer != "y" || !strings.Contains(f[1].Error, "not come to") {
			t.Errorf("failures %+v", f)
		}
	})
}

func TestLoadFailureKeepsWhatRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, "a")
		if s := b.State(); s.LoadError != "no source yet" || s.FailingSince.IsZero() || s.Revision != "" {
			t.Errorf("State = %+v", s)
		}
		b.goes("r1", "a>b")
		b.did("a", "create b")
		since := time.Now()
		b.mu.Lock()
		b.err = errors.New("unreadable")
		b.mu.Unlock()
		b.Wake()
		synctest.Wait()
		wait(time.Minute)
		s := b.State()
		if s.LoadError != "unreadable" || !s.FailingSince.Equal(since) || s.Revision != "r1" || len(s.History) != 3 {
			t.Errorf("State = %+v", s)
		}
		b.did("a", "")
		if n := strings.Count(b.log.String(), "err=unreadable"); n != 1 {
			t.Errorf("logged %d times", n)
		}
		b.wants("r2", "a>c")
		wait(30 * time.Second) // it is tried again by itself
		b.did("a", "delete b, create c")
		if s := b.State(); s.LoadError != "" || !s.FailingSince.IsZero() {
			t.Errorf("State = %+v", s)
		}
		b.mu.Lock()
		b.want = reconciler.Desired{Revision: "r3"}
		b.mu.Unlock()
		b.Wake()
		synctest.Wait()
		if s := b.State(); s.LoadError == "" || s.Revision != "r2" {
			t.Errorf("without a topology: %+v", s)
		}
	})
}

func TestSiteThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, "a", "b")
		b.goes("r1", "a>b", "b>a")
		b.did("b", "create a")
		b.goes("r2", "a>b")
		b.did("b", "delete a")
		if got := b.sites["b"].configured; got.Name != "b" || got.Listeners != nil || got.Grants != nil {
			t.Errorf("a site that is gone is configured as %+v", got)
		}
	})
}

func TestHeldWithoutLastGoodIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, "a", "b")
		for _, s := range b.sites {
			s.links["x"] = topology.Link{Name: "x", Enable: true}
			s.links["y"] = topology.Link{Name: "y"}
		}
		b.wants("r1", "b>z")
		b.hold(topology.Held{Site: "a", Rule: "schema", Why: "it does not parse"}, topology.Held{Site: "b", Peer: "y", Rule: "self-link", Why: "so"})
		b.Wake()
		synctest.Wait()
		b.did("a", "")
		b.did("b", "delete x, create z")
		if b.sites["a"].configured != nil {
			t.Error("a site that is held back is configured")
		}
		s := b.State()
		if len(s.Held) != 2 || !s.Sites["a"].Held || s.Sites["b"].Held || s.History[0].Revision != "r1" {
			t.Errorf("State = %+v", s)
		}
		must(t, b.Wait(t.Context(), "r1"))
		wait(2 * time.Minute)
		b.wants("r2", "a>x", "b>z")
		b.Wake()
		synctest.Wait()
		b.did("a", "delete y")
		b.did("b", "delete y")
		for part, want := range map[string]int{`msg="held back at the last good state" site=a`: 1, `msg="held back at the last good state" site=b peer=y rule=self-link why=so`: 1, `msg="no longer held back"`: 2} {
			if n := strings.Count(b.log.String(), part); n != want {
				t.Errorf("%d times %q in\n%s", n, part, b.log)
			}
		}
	})
}

func TestHeldWhileFailing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, "a")
		b.sites["a"].set("b", errors.New("refused"))
		b.goes("r1", "a>b")
		b.did("a", "(create b)")
		b.wants("r2")
		b.hold(topology.Held{Site: "a", Rule: "schema"})
		b.Wake()
		synctest.Wait()
		wait(time.Minute)
		b.did("a", "")
		if got := b.State().Sites["a"]; !got.Held || len(got.Failures) != 0 {
			t.Errorf("a site that is left alone: %+v", got)
		}
	})
}

func TestWakesAreJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, "a")
		b.wants("r1", "a>b")
		release := make(chan struct{})
		b.mu.Lock()
		before := b.loads
		b.during = func() { <-release }
		b.mu.Unlock()
		b.Wake()
		synctest.Wait() // the load is under way
		for range 100 {
			b.Wake()
		}
		close(release)
		synctest.Wait()
		b.mu.Lock()
		defer b.mu.Unlock()
		if got := b.loads - before; got != 2 {
			t.Errorf("%d loads for a wake and a hundred during its load, want 2", got)
		}
	})
}

func TestRunEndsWhileATargetHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, "a") // its clean-up checks that Run returns
		b.sites["a"].hangs["b"] = true
		b.goes("r1", "a>b")
		began := time.Now()
		t.Cleanup(func() {
			if took := time.Since(began); took > 0 {
				t.Errorf("ending took %v", took)
			}
		})
	})
}
