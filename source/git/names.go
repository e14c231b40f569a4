package git

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A name is one file of a change.
type name struct {
	given  string
	inTree string // slash-separated, from the top of the work tree
	exists bool   // on disk
	inHead bool   // in the last commit; only dirty knows
}

// names finds the files in the work tree.
func (r *Repo) names(files []string) ([]name, error) {
	if len(files) > maxFiles {
		return nil, fmt.Errorf("%w: %d files, at most %d are taken", errInvalid, len(files), maxFiles)
	}
	var list []name
	for _, file := range files {
		n, err := r.name(file)
		if err != nil {
			return nil, err
		}
		list = append(list, n)
	}
	slices.SortStableFunc(list, func(a, b name) int { return strings.Compare(a.inTree, b.inTree) })
	return slices.CompactFunc(list, func(a, b name) bool { return a.inTree == b.inTree }), nil
}

// name follows the symbolic links on the way to a file, and of the file, since
// what changed is what is at the end of them.
func (r *Repo) name(file string) (name, error) {
	if !filepath.IsAbs(file) || strings.ContainsRune(file, 0) {
		return name{}, fmt.Errorf("%w: %q is not an absolute path", errInvalid, file)
	}
	full, err := filepath.EvalSymlinks(file)
	exists := err == nil
	if errors.Is(err, os.ErrNotExist) {
		if full, err = existing(filepath.Dir(file)); err == nil {
			full = filepath.Join(full, filepath.Base(file))
		}
	}
	if err != nil {
		return name{}, fmt.Errorf("look for %s: %w", file, err)
	}
	if exists {
		info, err := os.Stat(full)
		if err != nil {
			return name{}, fmt.Errorf("look for %s: %w", file, err)
		}
		if !info.Mode().IsRegular() {
			return name{}, fmt.Errorf("%w: %s is not a regular file", errInvalid, file)
		}
	}
	rel, err := filepath.Rel(r.top, full)
	if err != nil || !filepath.IsLocal(rel) || rel == "." {
		return name{}, fmt.Errorf("%w: %s is not in the work tree %s", errInvalid, file, r.top)
	}
	for part := range strings.SplitSeq(filepath.ToSlash(rel), "/") {
		if strings.EqualFold(part, ".git") {
			return name{}, fmt.Errorf("%w: %s is one of git's own files", errInvalid, file)
		}
	}
	return name{given: file, inTree: filepath.ToSlash(rel), exists: exists}, nil
}

// existing is dir without symbolic links, as far as there is one: a file can
// be deleted with the directories that held it.
func existing(dir string) (string, error) {
	full, err := filepath.EvalSymlinks(dir)
	up := filepath.Dir(dir)
	if !errors.Is(err, os.ErrNotExist) || up == dir {
		return full, err
	}
	if full, err = existing(up); err != nil {
		return "", err
	}
	return filepath.Join(full, filepath.Base(dir)), nil
}

func inTree(list []name) []string {
	out := make([]string, len(list))
	for i, n := range list {
		out[i] = n.inTree
	}
	return out
}

// pathspecs names files to a command whose arguments are patterns.
func pathspecs(list []name) []string {
	out := []string{"--"}
	for _, n := range list {
		out = append(out, ":(top,literal)"+n.inTree)
	}
	return out
}

// Dirty returns those of files that differ from HEAD: new, changed or deleted
// and not committed. The index is not asked.
func (r *Repo) Dirty(ctx context.Context, files []string) ([]string, error) {
	list, err := r.names(files)
	if err != nil {
		return nil, err
	}
	list, err = r.dirty(ctx, list)
	var out []string
	for _, n := range list {
		out = append(out, n.given)
	}
	return out, err
}

// dirty compares contents as they would be committed, that is after git's
// filters for line ends and the like.
func (r *Repo) dirty(ctx context.Context, list []name) ([]name, error) {
	if len(list) == 0 {
		return nil, nil
	}
	committed, err := r.committed(ctx, list)
	if err != nil {
		return nil, err
	}
	here := slices.DeleteFunc(slices.Clone(list), func(n name) bool { return !n.exists })
	disk := map[string]string{}
	if len(here) > 0 {
		out, err := r.git(ctx, append([]string{"hash-object", "--"}, inTree(here)...)...)
		if err != nil {
			return nil, err
		}
		ids := strings.Split(out, "\n")
		if len(ids) != len(here) {
			return nil, fmt.Errorf("git hash-object in %s: %d answers for %d files", r.top, len(ids), len(here))
		}
		for i, n := range here {
			disk[n.inTree] = ids[i]
		}
	}
	var differ []name
	for _, n := range list {
		if id := committed[n.inTree]; id != disk[n.inTree] {
			n.inHead = id != ""
			differ = append(differ, n)
		}
	}
	return differ, nil
}

// committed returns the ids of the contents at HEAD, by name.
func (r *Repo) committed(ctx context.Context, list []name) (map[string]string, error) {
	ids := map[string]string{}
	if head, err := r.head(ctx); err != nil || head == "" {
		return ids, err
	}
	out, err := r.git(ctx, append([]string{"ls-tree", "-z", "--full-tree", "HEAD"}, pathspecs(list)...)...)
	if err != nil {
		return nil, err
	}
	for entry := range strings.SplitSeq(out, "\x00") {
		about, path, _ := strings.Cut(entry, "\t")
		if f := strings.Fields(about); len(f) == 3 && f[1] == "blob" {
			ids[path] = f[2]
		}
	}
	return ids, nil
}
