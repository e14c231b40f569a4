package git

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	pushTries    = 5
	leftoverAge  = time.Hour // of a work tree that a crash left behind; longer than any push
	maxConflicts = 10        // files named in an error
)

// A target is the branch that is pushed to.
type target struct {
	remote, branch string
	tracking       string // the reference here that says where it was last seen
}

func (t target) String() string { return t.remote + "/" + t.branch }

// target checks the names: the remote has to be configured, since a URL has no
// reference that remembers its branch.
func (r *Repo) target(ctx context.Context, remote, branch string) (target, error) {
	t := target{remote: remote, branch: branch, tracking: "refs/remotes/" + remote + "/" + branch}
	if strings.HasPrefix(remote, "-") || remote == "" {
		return t, fmt.Errorf("%q is no name of a remote", printable(remote, maxName))
	}
	for _, ref := range []string{"refs/heads/" + branch, t.tracking} {
		if _, err := r.git(ctx, "check-ref-format", ref); exitCode(err) == 1 {
			return t, fmt.Errorf("%q is no name of a branch of a remote", printable(t.String(), 2*maxName))
		} else if err != nil {
			return t, err
		}
	}
	_, err := r.git(ctx, "config", "--get-all", "remote."+remote+".url")
	if exitCode(err) == 1 {
		return t, fmt.Errorf("%s has no remote %q: add it with git remote add", r.top, printable(remote, maxName))
	}
	return t, err
}

// unpushed counts the commits of HEAD that the target is not known to have.
// Where it was never seen, those count that no branch of the remote has.
func (r *Repo) unpushed(ctx context.Context, t target) (int, error) {
	head, err := r.head(ctx)
	if err != nil || head == "" {
		return 0, err
	}
	seen, err := r.resolve(ctx, t.tracking)
	if err != nil {
		return 0, err
	}
	args := []string{"rev-list", "--count", head, "--not", "--remotes=" + t.remote}
	if seen != "" {
		args = []string{"rev-list", "--count", seen + ".." + head}
	}
	out, err := r.git(ctx, args...)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(out)
}

// errRejected is a push that came too late: the branch holds commits that are
// not here.
var errRejected = errors.New("the remote branch has moved on")

// Push pushes HEAD to branch of remote. If that has commits that are not here
// it fetches them, rebases what is unpushed in a work tree aside, lets check
// look at the rebased topology in dir, pushes that, and brings the work tree
// and its branch to it.
//
// It fails with [ErrDiverged] if the rebase conflicts; then nothing has
// changed. With [ErrInTheWay] everything is pushed, but uncommitted changes
// keep the work tree from following; with [ErrBusy] a rebase or the like does.
func (r *Repo) Push(ctx context.Context, remote, branch string, check func(ctx context.Context, dir string) error) error {
	t, err := r.target(ctx, remote, branch)
	if err != nil {
		return err
	}
	head, err := r.head(ctx)
	if err != nil {
		return err
	}
	if head == "" {
		return fmt.Errorf("push to %v: there is no commit yet", t)
	}
	if seen, err := r.resolve(ctx, t.tracking); err != nil {
		return err
	} else if seen != "" {
		if done, err := r.ancestor(ctx, head, seen); err != nil || done {
			return err
		}
	}
	err = r.send(ctx, r.top, head, t)
	for try := 1; errors.Is(err, errRejected) && try < pushTries; try++ {
		err = r.integrate(ctx, t, check)
	}
	if err != nil {
		return fmt.Errorf("push to %v: %w", t, err)
	}
	return nil
}

// send pushes one commit from a work tree.
func (r *Repo) send(ctx context.Context, dir, id string, t target) error {
	out, err := r.run(ctx, call{
		args:    []string{"push", "--porcelain", "--no-follow-tags", "--recurse-submodules=no", "--", t.remote, id + ":refs/heads/" + t.branch},
		dir:     dir,
		timeout: networkTimeout,
	})
	if err == nil {
		_, err = r.git(ctx, "update-ref", "-m", "clinkd: pushed", t.tracking, id)
		return err
	}
	f, ok := errors.AsType[*failure](err)
	if !ok || f.code != 1 {
		return err
	}
	for line := range strings.Lines(out) {
		reason, refused := strings.CutPrefix(line, "!\t")
		switch {
		case !refused:
		case strings.Contains(reason, "[rejected]"):
			return errRejected
		default: // such as a protected branch
			_, reason, _ = strings.Cut(reason, "\t")
			return fmt.Errorf("the remote refused: %s: %w", shown(reason), err)
		}
	}
	return fmt.Errorf("%w the push (pre-push of %s): %s", ErrHook, r.top, f.told())
}

// integrate puts what is unpushed on top of the remote's branch and pushes it.
func (r *Repo) integrate(ctx context.Context, t target, check func(context.Context, string) error) error {
	_, err := r.run(ctx, call{
		args: []string{"fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "--",
			t.remote, "+refs/heads/" + t.branch + ":" + t.tracking},
		timeout: networkTimeout,
	})
	if err != nil {
		return err
	}
	head, err := r.head(ctx)
	if err != nil {
		return err
	}
	if _, err := r.git(ctx, "merge-base", head, t.tracking); exitCode(err) == 1 {
		return fmt.Errorf("%w: HEAD of %s and %v have no commit in common; was the branch replaced, or the clone shallow?", ErrDiverged, r.top, t)
	} else if err != nil {
		return err
	}
	dir, remove, err := r.aside(ctx, head)
	if err != nil {
		return err
	}
	defer remove()
	id, err := r.rebase(ctx, dir, t)
	if err != nil {
		return err
	}
	if err := r.checked(ctx, dir, t, check); err != nil {
		return err
	}
	if seen, err := r.resolve(ctx, t.tracking); err != nil {
		return err
	} else if seen != id { // else others pushed the same changes
		if err := r.send(ctx, dir, id, t); err != nil {
			return err
		}
	}
	return r.follow(ctx, head, id)
}

// checked lets check look at the topology in the work tree aside.
func (r *Repo) checked(ctx context.Context, dir string, t target, check func(context.Context, string) error) error {
	if check == nil {
		return nil
	}
	below, err := filepath.Rel(r.top, r.dir)
	if err != nil {
		return err
	}
	if err := check(ctx, filepath.Join(dir, below)); err != nil {
		return fmt.Errorf("the topology is not right once the commits here are on top of %v, nothing is pushed: %w", t, err)
	}
	return nil
}

// noHooks keeps hooks from running on work that they have seen, in a place
// that they do not know.
var noHooks = []string{"-c", "core.hooksPath=" + os.DevNull}

// aside makes a work tree of its own with id checked out, inside git's
// directory: nobody looks there, and a rebase that stops leaves nothing behind
// in the user's work tree.
func (r *Repo) aside(ctx context.Context, id string) (dir string, remove func(), err error) {
	parent := filepath.Join(r.common, "clink")
	r.sweep(ctx, parent)
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return "", nil, fmt.Errorf("make a work tree for the rebase: %w", err)
	}
	if dir, err = os.MkdirTemp(parent, "push-"); err != nil {
		return "", nil, fmt.Errorf("make a work tree for the rebase: %w", err)
	}
	remove = func() { r.removeAside(ctx, dir) }
	_, err = r.run(ctx, call{
		args:    append(noHooks[:2:2], "worktree", "add", "--quiet", "--detach", dir, id),
		timeout: commitTimeout,
	})
	if err != nil {
		remove()
		return "", nil, err
	}
	return dir, remove, nil
}

// sweep removes what pushes that were killed have left.
func (r *Repo) sweep(ctx context.Context, parent string) {
	entries, _ := os.ReadDir(parent) // most often there is none
	for _, e := range entries {
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > leftoverAge {
			r.removeAside(ctx, filepath.Join(parent, e.Name()))
		}
	}
}

// removeAside removes a work tree, and if git does not know it, the directory.
func (r *Repo) removeAside(ctx context.Context, dir string) {
	_, _ = r.run(context.WithoutCancel(ctx), call{args: []string{"worktree", "remove", "--force", "--force", dir}, timeout: readTimeout})
	_ = os.RemoveAll(dir)
	_ = os.Remove(filepath.Dir(dir)) // unless another push is in it
}

// rebase rebases HEAD of the work tree in dir and returns its new id.
func (r *Repo) rebase(ctx context.Context, dir string, t target) (string, error) {
	who, err := r.identity(ctx, "")
	if err != nil {
		return "", err
	}
	_, err = r.run(ctx, call{
		args: append(noHooks[:2:2], "-c", "rebase.updateRefs=false", "-c", "rebase.autoStash=false",
			"rebase", "--quiet", "--merge", "--rebase-merges", "--no-autosquash", "--no-fork-point", t.tracking),
		dir:     dir,
		env:     who[2:], // the authors stay
		timeout: commitTimeout,
	})
	if err == nil {
		out, err := r.run(ctx, call{args: []string{"rev-parse", "HEAD"}, dir: dir, timeout: readTimeout})
		return strings.TrimSpace(out), err
	}
	if exitCode(err) < 1 {
		return "", err
	}
	out, listErr := r.run(ctx, call{args: []string{"diff", "--name-only", "--diff-filter=U", "-z"}, dir: dir, timeout: readTimeout})
	if listErr != nil || out == "" {
		return "", err
	}
	files := strings.Split(strings.TrimSuffix(out, "\x00"), "\x00")
	more := ""
	if len(files) > maxConflicts {
		more, files = fmt.Sprintf(" and %d more", len(files)-maxConflicts), files[:maxConflicts]
	}
	return "", fmt.Errorf("%w in %s%s: run git pull --rebase %s %s in %s and resolve it; the commits here stay as they are",
		ErrDiverged, printable(strings.Join(files, ", "), maxValue), more, t.remote, t.branch, r.top)
}
