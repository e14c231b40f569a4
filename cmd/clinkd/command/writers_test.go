package command_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"clink/compiler"
	"clink/diagnostic"
	"clink/source"
	"clink/topic"
	"clink/topology"
)

// long is how often something is done: fewer times unless CLINK_LONG is set.
func long(few, many int) int {
	if os.Getenv("CLINK_LONG") != "" {
		return many
	}
	return fewer(few)
}

// fewer is how often what only repeats is done: less often with -short.
func fewer(n int) int {
	if testing.Short() {
		return (n + 2) / 3
	}
	return n
}

// compiled is what the topology says now. It must be valid.
func compiled(ctx context.Context, dir string) (*topology.Topology, error) {
	d, err := source.Open(dir, source.Options{})
	if err != nil {
		return nil, err
	}
	snap, err := d.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	res, err := compiler.Compile(ctx, snap, compiler.Options{Now: time.Now()})
	if err != nil {
		return nil, err
	}
	for _, f := range res.Findings {
		if f.Severity >= diagnostic.Error {
			return nil, fmt.Errorf("%s: %s: %s", f.Pos, f.Rule, f.Message)
		}
	}
	return res.Topology, nil
}

// A writer changes two links over REST: its own, which nobody else writes and
// which it writes blindly; and one that all write, of which it must have seen
// the current state.
type writer struct {
	*daemon
	n       int
	refused int // answers 412
}

func (w *writer) own(edit int) error {
	path := fmt.Sprintf("/sites/spoke-%d/cluster/links/hub", w.n)
	body, err := w.with(path, func([]any) []any { return []any{fmt.Sprintf("own/%d/%d", w.n, edit)} })
	if err != nil {
		return err
	}
	for {
		r := w.try("PUT", path, body)
		switch {
		case r.err == nil && r.taken():
			return nil
		case r.err != nil || r.code != 503:
			return fmt.Errorf("PUT %s = %d %s %v", path, r.code, r.body, r.err)
		}
	}
}

// taken reports whether a write was made; on a busy machine it is answered
// before it is in force.
func (r reply) taken() bool { return r.code == 200 || r.code == 202 }

// with gets a link and changes its topics.
func (w *writer) with(path string, change func([]any) []any, etag ...*string) (string, error) {
	r := w.try("GET", path, "")
	if r.err != nil || r.code != 200 {
		return "", fmt.Errorf("GET %s = %d %s %v", path, r.code, r.body, r.err)
	}
	var l map[string]any
	if err := json.Unmarshal([]byte(r.body), &l); err != nil {
		return "", err
	}
	topics, _ := l["topics"].([]any)
	l["topics"] = change(topics)
	for _, e := range etag {
		*e = r.header.Get("ETag")
	}
	b, err := json.Marshal(l)
	return string(b), err
}

// shared adds a topic to the link that all write, as often as it takes.
func (w *writer) shared(edit int) error {
	const path = "/sites/spoke-9/cluster/links/hub"
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for etag, refused := "", ""; w.t.Context().Err() == nil; {
		body, err := w.with(path, func(t []any) []any { return append(t, fmt.Sprintf("shared/%d/%d", w.n, edit)) }, &etag)
		if err != nil {
			return err
		}
		if etag == refused {
			<-tick.C // what is in the source is not in force yet
			continue
		}
		r := w.try("PUT", path, body, "If-Match", etag)
		switch {
		case r.err == nil && r.taken():
			return nil
		case r.err == nil && r.code == 503: // a long line of others
			continue
		case r.err != nil || r.code != 412:
			return fmt.Errorf("PUT %s = %d %s %v", path, r.code, r.body, r.err)
		}
		w.refused++
		refused = etag
	}
	return w.t.Context().Err()
}

// An editor saves a file of his own each third time that somebody has written, and
// checks what stands in the directory then.
func editor(ctx context.Context, dir string, written <-chan string) (saved string, errs []error) {
	path := filepath.Join(dir, "editor.cue")
	n := 0
	for what := range written {
		n++
		if _, err := compiled(ctx, dir); err != nil {
			errs = append(errs, fmt.Errorf("after %s: %w", what, err))
		}
		if n%3 > 0 {
			continue
		}
		saved = fmt.Sprintf("package topology\n\n// Saved after %s.\nsites: \"spoke-10\": labels: saved: %q\n", what, what)
		if err := os.WriteFile(path+".tmp", []byte(saved), 0o644); err != nil {
			errs = append(errs, err)
		}
		if err := os.Rename(path+".tmp", path); err != nil {
			errs = append(errs, err)
		}
	}
	return saved, errs
}

// moreSpokes adds spokes to the example, the ports of which are free.
func moreSpokes(t *testing.T, dir string, names ...string) {
	t.Helper()
	password, err := os.ReadFile(filepath.Join(dir, "secrets", "spoke-1"))
	if err != nil {
		t.Fatal(err)
	}
	text := "package topology\n\n"
	for _, name := range names {
		text += fmt.Sprintf("_spokes: %q: %s\nsites: %q: cluster: links: hub: topics: []\n", name, freePort(t), name)
		if err := os.WriteFile(filepath.Join(dir, "secrets", name), password, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "more.cue"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// sharedEvery is which of a writer's edits are of the link that all write.
const sharedEvery = 3

// Eight writers and an editor at once: nothing that was answered is lost, and
// what is on disk is valid after each write.
func TestWritersAtOnce(t *testing.T) {
	const writers = 8
	edits := long(10, 200)
	dir := copyExample(t, "hub-and-spoke")
	moreSpokes(t, dir, "spoke-9", "spoke-10")
	d := start(t, dir, t.TempDir())
	written := make(chan string, writers)
	var saved string
	var errs []error
	var editing, writing sync.WaitGroup
	editing.Go(func() { saved, errs = editor(t.Context(), dir, written) })
	began, refused := time.Now(), make([]int, writers)
	for n := range writers {
		writing.Go(func() {
			w := &writer{daemon: d, n: n + 1}
			for edit := range edits {
				do, what := w.own, "own"
				if edit%sharedEvery == 1 {
					do, what = w.shared, "shared"
				}
				if err := do(edit); err != nil {
					t.Errorf("writer %d, edit %d: %v", w.n, edit, err)
					return
				}
				written <- fmt.Sprintf("%s edit %d of writer %d", what, edit, w.n)
			}
			refused[n] = w.refused
		})
	}
	writing.Wait()
	close(written)
	editing.Wait()
	t.Logf("%d edits in %v; answered 412: %v", writers*edits, time.Since(began).Round(time.Millisecond), refused)
	for _, err := range errs {
		t.Error(err)
	}
	if t.Failed() {
		return
	}
	if b, err := os.ReadFile(filepath.Join(dir, "editor.cue")); err != nil || string(b) != saved {
		t.Errorf("the editor's file holds %q, %v, saved was %q", b, err, saved)
	}
	checkWritten(t, dir, writers, edits)
}

// checkWritten holds the source against what was answered.
func checkWritten(t *testing.T, dir string, writers, edits int) {
	t.Helper()
	now, err := compiled(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	var want []topic.Filter
	for n := 1; n <= writers; n++ {
		for edit := 1; edit < edits; edit += sharedEvery {
			want = append(want, topic.Filter(fmt.Sprintf("shared/%d/%d", n, edit)))
		}
		l, _ := now.Sites[fmt.Sprint("spoke-", n)].Link("hub")
		own := edits - 1
		if own%sharedEvery == 1 {
			own--
		}
		if last := topic.Filter(fmt.Sprintf("own/%d/%d", n, own)); len(l.Topics) != 1 || l.Topics[0] != last {
			t.Errorf("spoke-%d has the topics %v, last written was %s", n, l.Topics, last)
		}
	}
	l, _ := now.Sites["spoke-9"].Link("hub")
	got := slices.Sorted(slices.Values(l.Topics))
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the link that all wrote has %d topics, want %d", len(got), len(want))
	}
	for _, name := range []string{"hub.cue", "spokes.cue"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !strings.HasPrefix(string(b), "package topology\n\n//") {
			t.Errorf("%s: %v\n%s", name, err, b)
		}
	}
}
