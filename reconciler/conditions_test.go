package reconciler_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"clink/topology"
)

func sorted(s []string) []string { slices.Sort(s); return s }

// say is what conditions come down to.
func say(cs []topology.Condition) string {
	var parts []string
	for _, c := range cs {
		parts = append(parts, fmt.Sprintf("%s=%s/%s", c.Type, c.Status, c.Reason))
	}
	return strings.Join(parts, " ")
}

const (
	loading     = "Ready=Unknown/Loading Reconciling=True/Loading Stalled=False/Loading"
	progressing = "Ready=Unknown/Progressing Reconciling=True/Progressing Stalled=False/Progressing"
	applied     = "Ready=True/Applied Reconciling=False/Applied Stalled=False/Applied"
	suspendedOK = "Ready=True/Suspended Reconciling=False/Suspended Stalled=False/Suspended"
	loadRetried = "Ready=False/LoadFailed Reconciling=True/Retrying Stalled=False/LoadFailed"
	loadStalled = "Ready=False/LoadFailed Reconciling=False/LoadFailed Stalled=True/LoadFailed"
	heldBack    = "Ready=False/HeldBack Reconciling=False/HeldBack Stalled=True/HeldBack"
	retried     = "Ready=False/ApplyFailed Reconciling=True/Retrying Stalled=False/ApplyFailed"
	gaveTooLong = "Ready=False/ApplyFailed Reconciling=False/ApplyFailed Stalled=True/ApplyFailed"
)

func TestConditions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := prepare(t, time.Hour, "a", "b")
		are := func(when, process, a, other string) {
			t.Helper()
			s := b.State()
			for scope, want := range map[string]string{"the process": process, "a": a, "b": other} {
				got := say(s.Conditions)
				if scope != "the process" {
					got = say(s.Sites[scope].Conditions)
				}
				if got != want {
					t.Errorf("%s, %s: %s, want %s", when, scope, got, want)
				}
			}
		}
		are("before it runs", loading, loading, loading)
		b.run()
		are("nothing can be loaded", loadRetried, loadRetried, loadRetried)
		b.goes("r1", "a>b", "b>a")
		are("all is well", applied, applied, applied)
		ready := b.State().Conditions[0]
		if ready.Revision != "r1" || !strings.Contains(ready.Message, "r1 is in force") {
			t.Errorf("Ready is %+v", ready)
		}
		wait(time.Minute)
		b.Wake()
		synctest.Wait()
		if again := b.State().Conditions[0]; again != ready {
			t.Errorf("a look again makes Ready %+v, was %+v", again, ready)
		}

		must(t, b.Suspend(t.Context(), topology.Suspension{Site: "a", Peer: "b", Reason: "so"}))
		are("a link is suspended", suspendedOK, suspendedOK, applied)
		if c := b.State().Conditions[0]; !c.Since.Equal(ready.Since) || !strings.Contains(c.Message, "a's link to b until it is resumed") {
			t.Errorf("Ready is %+v", c)
		}
		must(t, b.Resume(t.Context(), "a", "b", ""))

		b.wants("r2", "a>b", "b>a")
		b.hold(topology.Held{Site: "elsewhere", Rule: "schema"})
		b.Wake()
		synctest.Wait()
		are("a site is held back that is run elsewhere", applied, applied, applied)
		b.hold(topology.Held{Site: "a", Peer: "b", Rule: "self-link", Why: "a.cue:1:1: so"})
		b.Wake()
		synctest.Wait()
		are("held back", heldBack, heldBack, applied)
		if c := b.State().Conditions[2]; c.Revision != "r2" || !strings.Contains(c.Message, "a's link to b by self-link: a.cue:1:1: so") || !c.Since.Equal(time.Now()) {
			t.Errorf("Stalled is %+v", c)
		}

		b.sites["b"].mu.Lock()
		b.sites["b"].hangs["a"] = true
		b.sites["b"].mu.Unlock()
		b.goes("r3", "a>b", "b>a=3")
		wait(3 * time.Second)
		are("b hangs", progressing, applied, progressing)
		if c := b.State().Conditions; c[0].Revision != "r2" || c[1].Revision != "r3" {
			t.Errorf("observed %q, wanted %q", c[0].Revision, c[1].Revision)
		}
		b.sites["b"].set("a", errors.New("refused"))
		b.sites["b"].mu.Lock()
		delete(b.sites["b"].hangs, "a")
		b.sites["b"].mu.Unlock()
		wait(30 * time.Second)
		are("b fails", retried, applied, retried)
		wait(6 * time.Minute)
		are("b fails for long", gaveTooLong, applied, gaveTooLong)
		if c := b.State().Conditions; !strings.Contains(c[0].Message, "b's link to a: update: refused") {
			t.Errorf("Ready is %+v", c[0])
		}
		b.sites["b"].set("a", nil)
		wait(time.Minute)
		are("b is mended", applied, applied, applied)

		b.mu.Lock()
		b.err = errors.New("unreadable")
		b.mu.Unlock()
		since := time.Now()
		b.Wake()
		synctest.Wait()
		are("unreadable", loadRetried, loadRetried, loadRetried)
		wait(5*time.Minute + 10*time.Second)
		are("unreadable for long", loadStalled, loadStalled, loadStalled)
		if c := b.State().Conditions[2]; !c.Since.Equal(since.Add(5 * time.Minute)) {
			t.Errorf("stalled since %v after the failure", c.Since.Sub(since))
		}
	})
}
