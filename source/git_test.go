package source

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const (
	idA = "0123456789abcdef0123456789abcdef01234567"
	idB = "89abcdef0123456789abcdef0123456789abcdef"
)

func TestCommit(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"no repository", nil, ""},
		{"branch", map[string]string{".git/HEAD": "ref: refs/heads/main\n", ".git/refs/heads/main": idA + "\n"}, idA},
		{"detached", map[string]string{".git/HEAD": idB + "\n"}, idB},
		{"packed", map[string]string{".git/HEAD": "ref: refs/heads/main\n", ".git/packed-refs": "# pack-refs with: peeled fully-peeled sorted\n" + idB + " refs/heads/main2\n" + idA + " refs/heads/main\n^" + idB + "\n"}, idA},
		{"loose before packed", map[string]string{".git/HEAD": "ref: refs/heads/main\n", ".git/refs/heads/main": idB, ".git/packed-refs": idA + " refs/heads/main\n"}, idB},
		{"no commit yet", map[string]string{".git/HEAD": "ref: refs/heads/main\n"}, ""},
		{"linked work tree", map[string]string{".git": "gitdir: main/.git/worktrees/w\n", "main/.git/worktrees/w/HEAD": "ref: refs/heads/w\n", "main/.git/worktrees/w/commondir": "../..\n", "main/.git/refs/heads/w": idA}, idA},
		{"reftable", map[string]string{".git/HEAD": "ref: refs/heads/.invalid\n", ".git/reftable/tables.list": "x"}, ""},
		{"reference in a circle", map[string]string{".git/HEAD": "ref: refs/a\n", ".git/refs/a": "ref: refs/a\n"}, ""},
		{"reference out of the repository", map[string]string{".git/HEAD": "ref: refs/../../id\n", "id": idA}, ""},
		{"garbage", map[string]string{".git/HEAD": "\x00\xff"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			work := t.TempDir()
			for name, text := range tt.files {
				write(t, work, name, text)
			}
			write(t, work, "fleet/topology/a.cue", "")
			s := snapshot(t, open(t, filepath.Join(work, "fleet/topology"), Options{}))
			if s.Commit != tt.want {
				t.Errorf("Commit = %q, want %q", s.Commit, tt.want)
			}
		})
	}
}

// TestCommitAgreesWithGit compares with the git program where there is one;
// the table above holds without it.
func TestCommitAgreesWithGit(t *testing.T) {
	program, err := exec.LookPath("git")
	if err != nil {
		return
	}
	work := t.TempDir()
	git := func(args ...string) string {
		t.Helper()
		cmd := exec.Command(program, append([]string{"-C", work, "-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	write(t, work, "a.cue", "")
	git("init", "-q")
	git("add", ".")
	git("commit", "-q", "-m", "one")
	for _, step := range [][]string{{"status"}, {"pack-refs", "--all"}, {"checkout", "-q", "-b", "topic/x"}, {"checkout", "-q", "--detach"}} {
		git(step...)
		if got, want := commit(work), git("rev-parse", "HEAD"); got != want {
			t.Errorf("after git %v: commit = %q, git says %q", step, got, want)
		}
	}
}
