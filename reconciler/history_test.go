package reconciler_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"clink/diagnostic"
	"clink/internal/secret"
	"clink/reconciler"
	"clink/topic"
	"clink/topology"
)

// summary is one line for each entry.
func summary(h []reconciler.Pass) string {
	var lines []string
	for _, p := range h {
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %s %d", p.Revision, p.Result, p.Changes)))
	}
	return strings.Join(lines, ", ")
}

func TestHistoryTellsTheResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, "a", "b")
		b.wants("r1", "a>b", "b>a")
		b.mu.Lock()
		b.want.Author = "ops"
		b.want.Findings = diagnostic.List{{Rule: "x", Severity: diagnostic.Error}, {Rule: "y", Severity: diagnostic.Warning}, {Rule: "z", Severity: diagnostic.Warning}}
		b.mu.Unlock()
		b.Wake()
		synctest.Wait()
		p := b.State().History[0]
		if p.Author != "ops" || p.Errors != 1 || p.Warnings != 2 || p.Findings != 3 || p.Commit != "c-r1" || p.Result != "applied" {
			t.Errorf("%+v", p)
		}
		want := []topology.PlanStep{{Site: "a", Op: "create", Peer: "b", Fields: []string{}}, {Site: "b", Op: "create", Peer: "a", Fields: []string{}}}
		if !reflect.DeepEqual(p.Plan, want) {
			t.Errorf("plan %+v, want %+v", p.Plan, want)
		}
		b.sites["b"].mu.Lock()
		b.sites["b"].hangs["a"] = true
		b.sites["b"].mu.Unlock()
		b.goes("r2", "a>b=2", "b>a=2")
		wait(3 * time.Second)
		if got := summary(b.State().History); got != "r2 pending 1, r1 applied 2, failed 0" {
			t.Errorf("while b hangs: %s", got)
		}
		b.goes("r3", "a>b=3", "b>a=2")
		b.sites["b"].set("a", errors.New("refused"))
		b.sites["b"].mu.Lock()
		delete(b.sites["b"].hangs, "a")
		b.sites["b"].mu.Unlock()
		wait(27 * time.Second)
		if got := summary(b.State().History); got != "r3 partly 1, r2 superseded 1, r1 applied 2, failed 0" {
			t.Errorf("after b's turn: %s", got)
		}
		b.sites["a"].set("b", errors.New("refused"))
		b.goes("r4", "a>b=4", "b>a=4")
		if got := summary(b.State().History[:1]); got != "r4 failed 0" {
			t.Errorf("nothing succeeds: %s", got)
		}
		b.sites["a"].set("b", nil)
		b.sites["b"].set("a", nil)
		wait(time.Minute)
		if got := summary(b.State().History[:1]); got != "r4 applied 2" {
			t.Errorf("later: %s", got)
		}
	})
}

func TestHistoryOutlivesTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dirs := map[string]string{"a": t.TempDir(), "b": t.TempDir()}
		b := prepare(t, time.Hour, "a", "b")
		b.DataDirs = dirs
		b.run()
		b.goes("r1", "a>b", "b>a")
		b.goes("r2", "a>b=2", "b>a")
		want := b.State().History
		b.stop()

		again := prepare(t, time.Hour, "a", "b")
		again.DataDirs, again.Before = dirs, b.want.Topology
		again.wants("r2", "a>b=2", "b>a")
		again.run()
		got := again.State().History
		if len(got) != 3 || summary(got) != "r2 applied 1, r1 applied 2, failed 0" || !got[0].At.Equal(want[0].At) || !reflect.DeepEqual(got[0].Plan, want[0].Plan) || got[0].Plan[0].Fields[0] != "server" {
			t.Errorf("after a restart\n%+v, want\n%+v", got, want)
		}
		again.goes("r3", "a>b=2 c", "b>a")
		if p := again.State().History[0]; p.Changes != 1 || p.Result != "applied" {
			t.Errorf("then %+v", p)
		}
		again.stop()

		// While it was away, the source changed: the plan says how.
		third := prepare(t, time.Hour, "b")
		third.DataDirs, third.Before = map[string]string{"b": dirs["b"]}, again.want.Topology
		third.wants("r4", "a>b=2 c", "b>a=2")
		third.run()
		h := third.State().History
		if len(h) != 5 || h[1].Revision != "r3" || len(h[0].Plan) != 1 || h[0].Plan[0].Op != "update" {
			t.Errorf("%+v", h)
		}
		third.stop()

		must(t, os.WriteFile(filepath.Join(dirs["b"], "history"), []byte("clink history of revisions, version 1, 3 bytes, SHA-256 00\n{}"), 0o600))
		fourth := prepare(t, time.Hour, "b")
		fourth.DataDirs = map[string]string{"b": dirs["b"]}
		fourth.run()
		if h := fourth.State().History; len(h) != 1 || !strings.Contains(fourth.log.String(), "the history of revisions begins anew") {
			t.Errorf("after damage: %+v", h)
		}
		if _, err := os.Stat(filepath.Join(dirs["b"], "history.unusable")); err != nil {
			t.Error(err)
		}
		fourth.stop()
		if _, err := os.Stat(filepath.Join(dirs["b"], "history.tmp")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("left over: %v", err)
		}
	})
}

func TestHistoryBoundsPlans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, "a")
		var peers []string
		for i := range 1000 {
			peers = append(peers, fmt.Sprint("p", i))
		}
		b.goes("r1", "a>"+strings.Join(peers, " "))
		if p := b.State().History[0]; len(p.Plan) != 200 || p.PlanMore != 800 || p.Changes != 1000 {
			t.Errorf("%d steps, %d more", len(p.Plan), p.PlanMore)
		}
	})
}

func TestPlan(t *testing.T) {
	password := func(s string) secret.Ref {
		r, err := secret.Parse(s)
		must(t, err)
		return r
	}
	base := topology.Link{Name: "b", Enable: true, Server: "x:1", Address: "x:1", Password: password("hunter2"), Topics: []topic.Filter{"t/#"}}
	one := func(change func(*topology.Link)) *topology.Topology {
		l := base
		change(&l)
		return &topology.Topology{Sites: map[string]*topology.Site{"a": {Name: "a", Links: []topology.Link{l}}}}
	}
	for name, tt := range map[string]struct {
		change func(*topology.Link)
		want   []string
	}{
		"nothing":    {func(*topology.Link) {}, nil},
		"a position": {func(l *topology.Link) { l.Pos.Line = 7; l.Written = []string{"x"} }, nil},
		"a server":   {func(l *topology.Link) { l.Server, l.Address = "y:1", "y:1" }, []string{"server"}},
		"several": {func(l *topology.Link) {
			l.Enable, l.Password, l.Topics, l.PoolSize = false, password("secret2"), nil, 3
		}, []string{"enable", "password", "topics", "pool_size"}},
		"exports":           {func(l *topology.Link) { l.HasExport, l.Export = true, []topic.Filter{"e"} }, []string{"export"}},
		"content of a file": {func(l *topology.Link) { l.Digest = "d" }, []string{"(content of files)"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := reconciler.Plan(one(func(*topology.Link) {}), one(tt.change), nil)
			var fields []string
			if len(got) > 0 {
				fields = got[0].Fields
			}
			if !slices.Equal(fields, tt.want) || len(got) > 1 {
				t.Errorf("%+v, want %q", got, tt.want)
			}
			if strings.Contains(fmt.Sprint(got), "secret2") {
				t.Errorf("a password shows: %+v", got)
			}
		})
	}
	if got := reconciler.Plan(nil, one(func(*topology.Link) {}), []string{"b"}); got == nil || len(got) != 0 {
		t.Errorf("of another site: %#v", got)
	}
	if got := reconciler.Plan(one(func(*topology.Link) {}), nil, []string{"a", "a"}); len(got) != 1 || got[0].Op != "delete" {
		t.Errorf("a site that goes: %+v", got)
	}
}
