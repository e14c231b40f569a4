package reconciler_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"clink/topology"
)

// record notes every call of every site, in the order in which they came.
func (b *bench) record() func() []string {
	var mu sync.Mutex
	var calls []string
	for name, s := range b.sites {
		s.mu.Lock()
		s.all = func(text string) {
			mu.Lock()
			defer mu.Unlock()
			calls = append(calls, name+" "+text)
		}
		s.mu.Unlock()
	}
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		list := calls
		calls = nil
		return list
	}
}

// in checks that the calls come in groups, in any order within each.
func in(t *testing.T, calls []string, groups ...string) {
	t.Helper()
	for _, group := range groups {
		want := sorted(strings.Split(group, ", "))
		if len(calls) < len(want) {
			t.Errorf("ends before %q", group)
			return
		}
		if got := sorted(calls[:len(want)]); strings.Join(got, ", ") != strings.Join(want, ", ") {
			t.Errorf("%q, want %q", got, want)
		}
		calls = calls[len(want):]
	}
	if len(calls) > 0 {
		t.Errorf("and then %q", calls)
	}
}

func TestBothEndsGoThroughThePhasesTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, "a", "b", "c")
		calls := b.record()
		b.goes("r1", "a>b", "b>a", "c>")
		in(t, without(calls(), "c configure"),
			"a create b hold=true, b create a hold=true",
			"a configure, b configure",
			"a create b hold=false, b create a hold=false")
		b.goes("r2", "a>b=2", "b>a", "c>")
		in(t, without(calls(), "c configure"),
			"a update b hold=true", "a configure, b configure", "a update b hold=false")
		b.goes("r3", "a>c", "b>", "c>a")
		got := calls()
		for _, order := range [][2]string{
			{"b delete a hold=true", "a delete b hold=false"}, {"a delete b hold=true", "b delete a hold=false"},
			{"a create c hold=true", "c configure"}, {"c create a hold=true", "a configure"},
			{"a configure", "c create a hold=false"}, {"c configure", "a create c hold=false"},
		} {
			first, then := slices.Index(got, order[0]), slices.Index(got, order[1])
			if first < 0 || then < first {
				t.Errorf("%q, want %q before %q", got, order[0], order[1])
			}
		}
	})
}

func without(calls []string, what string) (left []string) {
	for _, c := range calls {
		if c != what {
			left = append(left, c)
		}
	}
	return left
}

func TestAddressIsGivenUpFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, "a", "b")
		listen := func(revision, a, other string) {
			b.wants(revision, "a>", "b>")
			for site, bind := range map[string]string{"a": a, "b": other} {
				if bind != "" {
					b.want.Topology.Sites[site].Listeners = []topology.Listener{{Name: "mqtt", Enable: true, Bind: bind}}
				}
			}
			b.Wake()
			synctest.Wait()
		}
		listen("r1", "x:1", "x:2")
		open := map[string]string{"a": "x:1", "b": "x:2"}
		var mu sync.Mutex
		for name, s := range b.sites {
			s.mu.Lock()
			s.all = func(string) { // within Configure
				mu.Lock()
				defer mu.Unlock()
				open[name] = ""
				for _, l := range s.configured.Listeners {
					open[name] = l.Bind
				}
				if open["a"] == open["b"] && open["a"] != "" {
					t.Errorf("both listen on %s", open["a"])
				}
			}
			s.mu.Unlock()
		}
		listen("r2", "x:2", "x:1")
		listen("r3", "", "x:2")
		listen("r4", "x:2", "")
		if open["a"] != "x:2" || open["b"] != "" {
			t.Errorf("in the end %v", open)
		}
	})
}

func TestStrangersDoNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, "a", "b", "c")
		b.sites["a"].hangs["b"] = true
		b.goes("r1", "a>b", "b>a", "c>z")
		b.did("c", "create z")
		b.did("b", "")
		wait(2 * time.Second)
		b.did("b", "create a")
		if !strings.Contains(b.log.String(), "going on without waiting") || strings.Count(b.log.String(), "going on without waiting") != 1 {
			t.Errorf("the log:\n%s", b.log)
		}
	})
}

// A change that comes while a site is still busy with an earlier one does not
// make its neighbours go on without it.
func TestChangesInARowAreMadeTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, "a", "b")
		b.goes("r1", "a>", "b>")
		b.sites["b"].mu.Lock()
		b.sites["b"].slow = time.Second
		b.sites["b"].mu.Unlock()
		b.goes("r2", "a>", "b>") // b is busy
		calls := b.record()
		b.goes("r3", "a>b", "b>a") // a has begun, b has not
		b.goes("r4", "a>b=2", "b>a=2")
		wait(10 * time.Second)
		got := calls()
		for _, order := range [][2]string{
			{"a create b hold=true", "b create a hold=false"}, {"b create a hold=true", "a create b hold=false"},
			{"a update b hold=true", "b update a hold=false"}, {"b update a hold=true", "a update b hold=false"},
		} {
			first, then := slices.Index(got, order[0]), slices.Index(got, order[1])
			if first < 0 || then < first {
				t.Errorf("%q, want %q before %q", got, order[0], order[1])
			}
		}
	})
}

// Of many changes in a row those in the middle are left out.
func TestOnlyTheLatestCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, "a")
		b.sites["a"].mu.Lock()
		b.sites["a"].slow = time.Minute
		b.sites["a"].mu.Unlock()
		for _, links := range []string{"", "b", "c", "d", "e"} {
			b.goes("r-"+links, "a>"+links)
		}
		wait(10 * time.Minute)
		b.did("a", "create e")
	})
}

// What was done by half is done again, even if it looks done.
func TestHalfDoneIsDoneAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, "a")
		a := b.sites["a"]
		a.set("b", errors.New("the disk is full"))
		b.goes("r1", "a>b")
		a.mu.Lock()
		a.links["b"] = topology.Link{Name: "b", Enable: true} // it is there, and does not run
		a.mu.Unlock()
		a.set("b", nil)
		a.done()
		wait(retry)
		b.did("a", "create b")
		if f := b.State().Sites["a"].Failures; len(f) != 0 {
			t.Errorf("%+v", f)
		}
		if b.State().Drift != 0 {
			t.Error("what was made by half is taken for drift")
		}
	})
}

func TestDriftIsToldAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, "a")
		b.goes("r1", "a>b c d")
		b.goes("r2", "a>b c d=2")
		if n := b.State().Drift; n != 0 {
			t.Errorf("changes of the source are %d times drift", n)
		}
		b.told()
		a := b.sites["a"]
		a.done()
		a.mu.Lock()
		delete(a.links, "b")
		a.links["c"] = topology.Link{Name: "c", Server: "elsewhere"}
		a.links["x"] = topology.Link{Name: "x"}
		a.mu.Unlock()
		wait(30 * time.Second)
		b.did("a", "delete x, update c, create b")
		if got := b.told(); got != "drift a>b missing, drift a>c changed, drift a>x unknown, applied a>x delete, applied a>c update, applied a>b create" {
			t.Errorf("told %q", got)
		}
		wait(30 * time.Second)
		if s := b.State(); s.Drift != 3 || b.told() != "" {
			t.Errorf("counted %d", s.Drift)
		}
		b.Publish(topology.Event{Type: "drift", Site: "a", Reason: "listener"})
		if n := b.State().Drift; n != 4 {
			t.Errorf("counted %d", n)
		}
	})
}

func TestLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, "a", "b")
		if err := b.Look(t.Context()); err == nil || err.Error() != "no source yet" {
			t.Errorf("Look = %v", err)
		}
		b.wants("r1", "a>b", "b>a")
		must(t, b.Look(t.Context()))
		if s := b.State(); s.Sites["a"].Revision != "r1" || s.Sites["b"].Revision != "r1" {
			t.Errorf("after Look: %+v", s)
		}
		must(t, b.Look(t.Context()))
	})
}
