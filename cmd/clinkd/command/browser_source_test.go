package command_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// A source that cannot be written is said to be so, and what was typed stays.
func TestBrowserMeetsReadOnlySource(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		t.Skip("only root can mount a directory read-only")
	}
	d, repo, b := startPair(t)
	b.excuse("status of 409")
	for _, args := range [][]string{{"--bind", d.dir, d.dir}, {"-o", "remount,ro,bind", d.dir}} {
		if out, err := exec.Command("mount", args...).CombinedOutput(); err != nil {
			t.Skipf("nothing can be mounted read-only: %v: %s", err, out)
		}
		if args[0] == "--bind" {
			t.Cleanup(func() {
				d.stop()
				if out, err := exec.Command("umount", d.dir).CombinedOutput(); err != nil {
					t.Errorf("umount: %v: %s", err, out)
				}
			})
		}
	}
	b.click(named("Settings of site-a to site-b"))
	b.fill(at(topicRow), "new/#")
	b.checked(good)
	b.click(named("Save"))
	b.sees("the source is read-only")
	if got := b.value(at(topicRow)); got != "new/#" {
		t.Errorf("what was typed has become %q", got)
	}
	repo.edited("")
}

// A value that the source computes is replaced only when that is asked for.
func TestBrowserOverrides(t *testing.T) {
	t.Parallel()
	dir := copyExample(t, "two-sites")
	file := filepath.Join(dir, "site_a.cue")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	computed := strings.Replace(string(text), `topics: ["global/#"]`, `topics: _wanted`, 1) + "\n_wanted: [\"global/#\"]\n"
	if err := os.WriteFile(file, []byte(computed), 0o644); err != nil {
		t.Fatal(err)
	}
	repo := commitAll(t, dir)
	d := start(t, dir, t.TempDir())
	d.online("site-a", "site-b")
	b := newTab(t, openBrowser(t), d, desk)
	b.excuse("status of 409")
	b.signIn(d)
	b.visit("#/links", "table.links")
	b.click(named("Settings of site-a to site-b"))
	b.fill(at(topicRow), "new/#")
	b.sees("site_a.cue:")
	repo.edited("")
	b.click(at(".banner-bad button"))
	b.checked(good)
	b.click(named("Save"))
	b.dialogGone()
	if diff := repo.git("diff", "-U0"); !strings.Contains(diff, `+		topics: ["new/#"]`) {
		t.Errorf("the difference is\n%s", diff)
	}
}
