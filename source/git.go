package source

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// commit returns the commit id that HEAD names in the git work tree around
// dir, or "" where there is none to be found. It reads git's files itself: the
// git program may be absent, and refuses a work tree that belongs to another
// user, as mounted volumes often do. A repository that keeps its references in
// a reftable gives "".
func commit(dir string) string {
	gitdir := gitDir(dir)
	if gitdir == "" {
		return ""
	}
	common := gitdir
	if c := line(filepath.Join(gitdir, "commondir")); c != "" {
		common = joined(gitdir, c)
	}
	value := line(filepath.Join(gitdir, "HEAD"))
	for range 5 { // references may be symbolic themselves
		if objectID.MatchString(value) {
			return value
		}
		ref, ok := strings.CutPrefix(value, "ref: ")
		if !ok || !strings.HasPrefix(ref, "refs/") || !filepath.IsLocal(filepath.FromSlash(ref)) {
			return ""
		}
		if value = line(filepath.Join(gitdir, filepath.FromSlash(ref))); value == "" {
			value = line(filepath.Join(common, filepath.FromSlash(ref)))
		}
		if value == "" {
			value = packed(filepath.Join(common, "packed-refs"), ref)
		}
	}
	return ""
}

var objectID = regexp.MustCompile(`^(?:[0-9a-f]{40}|[0-9a-f]{64})$`)

// gitDir finds the repository of the work tree around dir: a .git directory,
// or a .git file that says where it is (linked work trees, submodules).
func gitDir(dir string) string {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return ""
	}
	for {
		at := filepath.Join(dir, ".git")
		if info, err := os.Stat(at); err == nil {
			if info.IsDir() {
				return at
			}
			if to, ok := strings.CutPrefix(line(at), "gitdir: "); ok {
				return joined(dir, to)
			}
			return ""
		}
		up := filepath.Dir(dir)
		if up == dir {
			return ""
		}
		dir = up
	}
}

func joined(dir, name string) string {
	if filepath.IsAbs(name) {
		return filepath.Clean(name)
	}
	return filepath.Join(dir, name)
}

// line returns the first line of a small file, or "".
func line(name string) string {
	info, err := os.Stat(name)
	if err != nil || !info.Mode().IsRegular() {
		return ""
	}
	f, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 8192))
	if err != nil {
		return ""
	}
	first, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSpace(first)
}

// packed looks ref up in git's packed-refs: lines of an object id, a space and
// the name; lines that begin with # or ^ match no name.
func packed(name, ref string) string {
	f, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	lines := bufio.NewScanner(io.LimitReader(f, 64<<20))
	for lines.Scan() {
		if id, found := strings.CutSuffix(lines.Text(), " "+ref); found {
			return id
		}
	}
	return ""
}
