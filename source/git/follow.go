package git

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// follow brings work tree, index and branch from the commit old to the commit
// new, which holds old's changes. It keeps what is staged or changed and not
// committed, and does nothing at all where that is not possible.
//
// Files first, then the branch: whoever is killed in between leaves a work
// tree that is ahead of its branch, which the next push mends. The other way
// round, the index would take the others' changes back.
func (r *Repo) follow(ctx context.Context, old, new string) error {
	if r.Files != nil {
		r.Files.Lock()
		defer r.Files.Unlock()
	}
	if err := r.turn.enter(ctx); err != nil {
		return err
	}
	defer r.turn.leave()
	if err := r.idle(ctx); err != nil {
		return fmt.Errorf("pushed, but the branch here could not follow: %w", err)
	}
	switch head, err := r.head(ctx); {
	case err != nil:
		return err
	case head != old: // a commit was made meanwhile
		return errRejected
	}
	if err := r.vacant(ctx, old, new); err != nil {
		return err
	}
	// Ends with 1 if something is changed, which the next step looks at.
	if _, err := r.git(ctx, "update-index", "-q", "--refresh"); exitCode(err) < 0 {
		return err
	}
	if err := r.switchTree(ctx, old, new); err != nil {
		return err
	}
	_, err := r.git(ctx, "update-ref", "-m", "clinkd: rebased and pushed", "HEAD", new, old)
	if err == nil {
		return nil
	}
	if backErr := r.switchTree(context.WithoutCancel(ctx), new, old); backErr != nil {
		return errors.Join(err, backErr)
	}
	if errors.Is(r.locked(err), errLocked) {
		return errRejected // somebody moved HEAD in this very moment
	}
	return err
}

// switchTree goes from one commit's files to another's as git switch does, but
// leaves HEAD where it is.
func (r *Repo) switchTree(ctx context.Context, from, to string) error {
	_, err := r.run(ctx, call{args: []string{"read-tree", "-m", "-u", from, to}, timeout: commitTimeout})
	if exitCode(err) < 1 {
		return err
	}
	if err := r.locked(err); errors.Is(err, errLocked) {
		return fmt.Errorf("pushed, but the branch here could not follow: %w", err)
	}
	return inTheWay(r.top, err.Error())
}

func inTheWay(top, what string) error {
	return fmt.Errorf("%w: pushed, but %s could not follow: %s: commit, stash or remove what is in the way", ErrInTheWay, top, what)
}

// vacant makes sure that no file that only new has is there already: git would
// write over it if it is one that it ignores.
func (r *Repo) vacant(ctx context.Context, old, new string) error {
	out, err := r.git(ctx, "diff-tree", "-r", "-z", "--name-only", "--no-renames", "--diff-filter=A", old, new)
	if err != nil || out == "" {
		return err
	}
	for file := range strings.SplitSeq(strings.TrimSuffix(out, "\x00"), "\x00") {
		if _, err := os.Lstat(filepath.Join(r.top, filepath.FromSlash(file))); err != nil {
			continue
		}
		known, err := r.git(ctx, append([]string{"ls-files", "--cached"}, pathspecs([]name{{inTree: file}})...)...)
		if err != nil {
			return err
		}
		if known == "" {
			return inTheWay(r.top, printable(file, maxValue)+" is there and not in git")
		}
	}
	return nil
}
