// Package git commits changes of a topology's files with the user's own git
// program and pushes them. It takes the program and no library, because only
// the program honours everything a work tree is set up with: hooks, signing,
// filters, credentials, linked work trees.
//
// It never takes more into a commit than the files it is given, never asks a
// question on a terminal, and never gives up an edit: whatever goes wrong, the
// files on disk stay as they are.
package git

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// What stands in the way of a commit or a push; to be asked for with
// [errors.Is]. The errors that wrap them say what to do.
var (
	ErrNoGit    = errors.New("no usable git program")
	ErrNoRepo   = errors.New("no usable git repository")
	ErrBusy     = errors.New("git is busy")            // by itself it passes: try again
	ErrHook     = errors.New("a git hook refused")     // pre-commit, commit-msg, pre-push
	ErrDiverged = errors.New("the branches conflict")  // somebody has to merge
	ErrInTheWay = errors.New("changes are in the way") // the work tree cannot follow its branch
)

// A Repo is the git work tree around a directory. Its methods may be called
// from several goroutines.
type Repo struct {
	// Files, if not nil, is held while a push that had to rebase brings the
	// files of the work tree to the rebased commit. Whoever writes these files
	// holds it too, so that neither sees the half-done work of the other. Set it
	// before the first call, and never call Push while holding it.
	Files sync.Locker

	program string
	env     []string
	dir     string // the directory it was opened for, without symbolic links
	top     string // of the work tree
	gitDir  string // of this work tree
	common  string // shared between linked work trees
	turn    gate   // held by whoever changes index, HEAD or work tree
}

// oldest is the first git that has all the flags used here.
var oldest = [2]int{2, 29}

// Open finds the git work tree around dir. Symbolic links are followed once: if
// they come to lead elsewhere, a new Repo is needed.
func Open(ctx context.Context, dir string) (*Repo, error) {
	program, err := exec.LookPath("git")
	if err != nil {
		return nil, fmt.Errorf("%w: %w: install git, or do without committing", ErrNoGit, err)
	}
	if dir, err = filepath.Abs(dir); err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("find the git repository: %w", err)
	}
	r := &Repo{program: program, env: environment(os.Environ()), dir: dir, top: dir, turn: newGate()}
	if err := r.checkVersion(ctx); err != nil {
		return nil, err
	}
	if err := r.locate(ctx); err != nil {
		return nil, err
	}
	return r, nil
}

var versionNumber = regexp.MustCompile(`^git version (\d+)\.(\d+)`)

func (r *Repo) checkVersion(ctx context.Context) error {
	out, err := r.git(ctx, "version")
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoGit, err)
	}
	m := versionNumber.FindStringSubmatch(out)
	if m == nil {
		return fmt.Errorf("%w: %s calls itself %q", ErrNoGit, r.program, printable(out, 100))
	}
	major, _ := strconv.Atoi(m[1])
	minor, _ := strconv.Atoi(m[2])
	if major < oldest[0] || major == oldest[0] && minor < oldest[1] {
		return fmt.Errorf("%w: %s is version %s.%s: install %d.%d or newer", ErrNoGit, r.program, m[1], m[2], oldest[0], oldest[1])
	}
	return nil
}

// locate fills in the directories of the repository.
func (r *Repo) locate(ctx context.Context) error {
	inside, err := r.git(ctx, "rev-parse", "--is-inside-work-tree")
	if err != nil {
		return r.noRepo(err)
	}
	if inside != "true" {
		return fmt.Errorf("%w: %s is in a bare repository or in git's own directory: use a clone with a work tree", ErrNoRepo, r.dir)
	}
	// One question at a time: the answers may hold newlines.
	for _, q := range []struct {
		to   *string
		what string
	}{{&r.gitDir, "--absolute-git-dir"}, {&r.common, "--git-common-dir"}, {&r.top, "--show-toplevel"}} {
		if *q.to, err = r.git(ctx, "rev-parse", q.what); err != nil {
			return r.noRepo(err)
		}
	}
	if !filepath.IsAbs(r.common) {
		r.common = filepath.Join(r.dir, r.common)
	}
	r.top, err = filepath.EvalSymlinks(r.top)
	return err
}

// noRepo words why there is no repository that git would work with.
func (r *Repo) noRepo(err error) error {
	f, ok := errors.AsType[*failure](err)
	if !ok {
		return err // such as the end of ctx
	}
	switch {
	case strings.Contains(f.stderr, "dubious ownership"):
		return fmt.Errorf("%w: the repository around %s belongs to another user, and git refuses it: run clinkd as that user, or trust it with git config --global --add safe.directory", ErrNoRepo, r.dir)
	case strings.Contains(f.stderr, "not a git repository"):
		return fmt.Errorf("%w: %s is not in a git work tree: run git init there, or do without committing", ErrNoRepo, r.dir)
	}
	return fmt.Errorf("%w: %w", ErrNoRepo, err)
}

// Top returns the root of the work tree.
func (r *Repo) Top() string { return r.top }

// A State says where a work tree stands.
type State struct {
	Head       string // commit id, "" before the first commit
	Branch     string // "" if Detached
	Detached   bool   // commits made now are on no branch
	Busy       string // what is going on, such as "rebase"; no commit is made meanwhile
	DirtyIndex bool   // something is staged; it stays so
	Unpushed   int    // commits that the remote branch is not known to have
}

// State looks at the work tree. Unpushed is counted for branch of remote,
// without asking the remote; it is 0 if remote is "".
func (r *Repo) State(ctx context.Context, remote, branch string) (State, error) {
	s := State{}
	var err error
	if s.Head, err = r.head(ctx); err != nil {
		return State{}, err
	}
	if s.Branch, err = r.git(ctx, "symbolic-ref", "-q", "--short", "HEAD"); exitCode(err) == 1 {
		s.Detached, err = true, nil
	}
	if err != nil {
		return State{}, err
	}
	if s.Busy, err = r.busy(ctx); err != nil {
		return State{}, err
	}
	if s.DirtyIndex, err = r.staged(ctx, s.Head); err != nil {
		return State{}, err
	}
	if remote != "" {
		t, err := r.target(ctx, remote, branch)
		if err != nil {
			return State{}, err
		}
		if s.Unpushed, err = r.unpushed(ctx, t); err != nil {
			return State{}, err
		}
	}
	return s, nil
}

// head returns the id of the commit at HEAD, "" if there is none yet.
func (r *Repo) head(ctx context.Context) (string, error) {
	return r.resolve(ctx, "HEAD")
}

// resolve returns the id of the commit that a name stands for, "" if there is
// none.
func (r *Repo) resolve(ctx context.Context, name string) (string, error) {
	id, err := r.git(ctx, "rev-parse", "--quiet", "--verify", name+"^{commit}")
	if exitCode(err) == 1 {
		return "", nil
	}
	return id, err
}

// staged tells whether the index differs from HEAD.
func (r *Repo) staged(ctx context.Context, head string) (bool, error) {
	if head == "" {
		out, err := r.git(ctx, "ls-files", "--cached")
		return out != "", err
	}
	_, err := r.git(ctx, "diff-index", "--cached", "--quiet", "HEAD", "--")
	if exitCode(err) == 1 {
		return true, nil
	}
	return false, err
}

// marks are the files by which git knows that something is unfinished.
var marks = []struct{ file, what string }{
	{"rebase-merge", "rebase"},
	{"rebase-apply/applying", "am"},
	{"rebase-apply", "rebase"},
	{"MERGE_HEAD", "merge"},
	{"CHERRY_PICK_HEAD", "cherry-pick"},
	{"REVERT_HEAD", "revert"},
	{"sequencer", "cherry-pick or revert"},
	{"BISECT_LOG", "bisect"},
}

// conflict is what is going on if nothing is, but the index holds a conflict.
const conflict = "unresolved conflict"

// busy names what is going on in the work tree, "" if nothing.
func (r *Repo) busy(ctx context.Context) (string, error) {
	for _, m := range marks {
		_, err := os.Lstat(filepath.Join(r.gitDir, filepath.FromSlash(m.file)))
		if err == nil {
			return m.what, nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("look for a running %s: %w", m.what, err)
		}
	}
	out, err := r.git(ctx, "ls-files", "--unmerged")
	if err != nil || out == "" {
		return "", err
	}
	return conflict, nil
}

// idle is an error that is ErrBusy unless nothing is going on.
func (r *Repo) idle(ctx context.Context) error {
	what, err := r.busy(ctx)
	if err != nil || what == "" {
		return err
	}
	return fmt.Errorf("%w: %s in %s: finish or abort it (git status says how); the files stay as they are until then", ErrBusy, what, r.top)
}

var objectID = regexp.MustCompile(`^[0-9a-f]{40}([0-9a-f]{24})?$`)

// Contains tells whether HEAD is the commit with that id or comes after it, or
// after one with the same message: a rebase has made another of it. A commit
// that the repository does not have is not contained.
func (r *Repo) Contains(ctx context.Context, commit string) (bool, error) {
	if !objectID.MatchString(commit) {
		return false, fmt.Errorf("%q is no commit id", printable(commit, 80))
	}
	for _, name := range []string{commit, "HEAD"} {
		_, err := r.git(ctx, "cat-file", "-e", name+"^{commit}")
		if exitCode(err) > 0 && !errors.Is(err, ErrNoRepo) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
	if in, err := r.ancestor(ctx, commit, "HEAD"); in || err != nil {
		return in, err
	}
	return r.rebased(ctx, commit)
}

// maxRebased is how far back from HEAD a commit that was rebased is looked for.
const maxRebased = "1000"

// rebased tells whether one of the commits that HEAD has and the commit has
// not has its message.
func (r *Repo) rebased(ctx context.Context, commit string) (bool, error) {
	message, err := r.git(ctx, "log", "-1", "--format=%B", commit)
	if err != nil {
		return false, err
	}
	out, err := r.git(ctx, "log", "-n", maxRebased, "--format=%B%x00", commit+"..HEAD")
	if err != nil {
		return false, err
	}
	for other := range strings.SplitSeq(out, "\x00") {
		if strings.TrimSpace(other) == strings.TrimSpace(message) {
			return true, nil
		}
	}
	return false, nil
}

func (r *Repo) ancestor(ctx context.Context, old, new string) (bool, error) {
	_, err := r.git(ctx, "merge-base", "--is-ancestor", old, new)
	if exitCode(err) == 1 {
		return false, nil
	}
	return err == nil, err
}
