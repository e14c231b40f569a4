package git

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// How long to wait for another git that holds a lock: the first wait, doubled
// each time, and how often.
const (
	lockFirst = 50 * time.Millisecond
	lockTries = 6
)

// Commit commits the files of c as they are on disk, and nothing else: what is
// staged stays staged. It returns the id of the commit, or that of HEAD if no
// file differs from it. On an error the files and the index are as before.
//
// It makes no commit while a rebase, a merge or the like is under way
// ([ErrBusy]). On a detached HEAD it does; [Repo.State] tells.
func (r *Repo) Commit(ctx context.Context, c Change) (string, error) {
	message, err := c.message()
	if err != nil {
		return "", err
	}
	if err := r.turn.enter(ctx); err != nil {
		return "", fmt.Errorf("commit: wait for another commit: %w", err)
	}
	defer r.turn.leave()
	for try := 0; ; try++ {
		id, err := r.commit(ctx, c, message)
		if !errors.Is(err, errLocked) || try+1 == lockTries {
			return id, err
		}
		select {
		case <-time.After(lockFirst << try):
		case <-ctx.Done():
			return "", fmt.Errorf("%w: %w", err, context.Cause(ctx))
		}
	}
}

func (r *Repo) commit(ctx context.Context, c Change, message string) (string, error) {
	list, err := r.names(c.Files)
	if err != nil {
		return "", err
	}
	if list, err = r.dirty(ctx, list); err != nil {
		return "", err
	}
	if len(list) == 0 {
		return r.head(ctx)
	}
	if err := r.idle(ctx); err != nil {
		return "", err
	}
	who, err := r.identity(ctx, c.Author)
	if err != nil {
		return "", err
	}
	added, err := r.announce(ctx, list)
	if err == nil {
		err = r.commitFiles(ctx, list, message, who)
	}
	if err != nil {
		return r.settle(context.WithoutCancel(ctx), list, added, err)
	}
	return r.head(ctx)
}

// settle puts the index right after git ended with err. If the commit was made
// all the same, because only a hook after it was stopped or another git was
// faster, that is no error. It is not cut short with the commit.
func (r *Repo) settle(ctx context.Context, list, added []name, err error) (string, error) {
	if left, dirtyErr := r.dirty(ctx, list); dirtyErr != nil || len(left) > 0 {
		return "", errors.Join(err, r.withdraw(ctx, added))
	}
	_, err = r.run(ctx, call{args: append([]string{"reset", "--quiet"}, pathspecs(list)...), timeout: readTimeout})
	if err != nil {
		return "", r.locked(err)
	}
	return r.head(ctx)
}

// announce tells the index of files that it does not know, because git commits
// no others by name, and returns them.
func (r *Repo) announce(ctx context.Context, list []name) ([]name, error) {
	if !slices.ContainsFunc(list, func(n name) bool { return n.exists && !n.inHead }) {
		return nil, nil
	}
	out, err := r.git(ctx, append([]string{"ls-files", "-z", "--cached"}, pathspecs(list)...)...)
	if err != nil {
		return nil, err
	}
	indexed := strings.Split(out, "\x00")
	added := slices.DeleteFunc(slices.Clone(list), func(n name) bool {
		return !n.exists || n.inHead || slices.Contains(indexed, n.inTree)
	})
	if len(added) == 0 {
		return nil, nil
	}
	_, err = r.run(ctx, call{args: append([]string{"add", "--intent-to-add"}, pathspecs(added)...), timeout: readTimeout})
	if f, ok := errors.AsType[*failure](err); ok && strings.Contains(f.stderr, "ignored by one of your .gitignore") {
		return added, fmt.Errorf("git ignores %s: take it out of .gitignore, or track it with git add --force", strings.Join(inTree(added), ", "))
	}
	return added, r.locked(err)
}

// withdraw makes the index forget what announce told it.
func (r *Repo) withdraw(ctx context.Context, added []name) error {
	if len(added) == 0 {
		return nil
	}
	_, err := r.run(ctx, call{
		args:    []string{"update-index", "--force-remove", "-z", "--stdin"},
		stdin:   strings.Join(inTree(added), "\x00") + "\x00",
		timeout: readTimeout,
	})
	return r.locked(err)
}

// commitFiles commits by name. Git holds the lock of the index from before it
// reads the files until HEAD has moved, so the two cannot come apart.
func (r *Repo) commitFiles(ctx context.Context, list []name, message string, who []string) error {
	_, err := r.run(ctx, call{
		args: append([]string{"commit", "--only", "--quiet", "--no-edit", "--no-status", "--cleanup=whitespace", "-F", "-"},
			pathspecs(list)...),
		stdin:   message,
		env:     who,
		timeout: commitTimeout,
	})
	f, ok := errors.AsType[*failure](err)
	if !ok || f.code != 1 || strings.HasPrefix(f.stderr, "error: pathspec") || errors.Is(r.locked(err), errLocked) {
		return r.locked(err)
	}
	return fmt.Errorf("%w the commit (pre-commit, prepare-commit-msg or commit-msg of %s): %s\nmend what it complains of, or the hook; the files on disk are as they were written",
		ErrHook, r.top, f.told())
}

// errLocked is another git's lock.
var errLocked = fmt.Errorf("%w: another git program holds a lock", ErrBusy)

// locked makes an error that is about a lock, or about a HEAD that another git
// has just moved, errLocked.
func (r *Repo) locked(err error) error {
	f, ok := errors.AsType[*failure](err)
	if !ok {
		return err
	}
	lock := strings.Contains(f.stderr, ".lock'") && strings.Contains(f.stderr, "File exists")
	moved := strings.Contains(f.stderr, "cannot lock ref")
	if !lock && !moved {
		return err
	}
	return fmt.Errorf("%w: wait for it, or if none runs remove the lock: %w", errLocked, err)
}
