package command

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"clink/compiler"
)

// A seedling is a file that init writes.
type seedling struct {
	name string // slash-separated, relative to the topology directory
	text []byte
}

const secretsDir = "secrets"

// files are those of the topology, what the site files need before them.
func (p plan) files(port int) ([]seedling, error) {
	l := []seedling{
		{moduleFile, []byte(module)},
		{ignoreFile, []byte(gitignore)},
	}
	secrets := p.secretNames()
	for i := range p.names {
		for _, j := range p.peers(i) {
			l = append(l, seedling{secretsDir + "/" + secrets[[2]int{i, j}], []byte(rand.Text() + "\n")})
		}
	}
	names := p.fileNames()
	for i := range p.names {
		text, err := compiler.Format(names[i], []byte(p.site(i, port, secrets)))
		if err != nil {
			return nil, fmt.Errorf("write a site file: %w", err)
		}
		l = append(l, seedling{names[i], text})
	}
	return l, nil
}

// site is the file of one site. The first one is annotated the most: it is
// where a newcomer begins to read.
func (p plan) site(i, port int, secrets map[[2]int]string) string {
	var b strings.Builder
	b.WriteString("package topology\n\n")
	if i == 0 {
		b.WriteString(p.preface())
	}
	fmt.Fprintf(&b, "sites: %s: {\n", word(p.names[i]))
	b.WriteString("// Where this site's clients and the other sites connect. Sites on one machine\n// need ports of their own.\n")
	fmt.Fprintf(&b, "listeners: mqtt: bind: \"127.0.0.1:%d\"\n\n", port+i)
	b.WriteString("// Every client on this machine may connect, without a password.\naccess: anonymous: true\n\n")
	b.WriteString("// This site's half of each link; the peer's half is in the peer's file.\n")
	b.WriteString("cluster: links: {\n")
	for n, j := range p.peers(i) {
		fmt.Fprintf(&b, "%s: {\n", word(p.names[j]))
		if n == 0 {
			b.WriteString("// Where the peer listens.\n")
		}
		fmt.Fprintf(&b, "server: \"127.0.0.1:%d\"\n", port+j)
		if n == 0 {
			b.WriteString("// What this site wants to receive from the peer.\n")
		}
		fmt.Fprintf(&b, "topics: [%s]\n", quotedList(p.topics(i, j)))
		if n == 0 {
			b.WriteString("// How this site proves to the peer who it is. The password is in a file.\n")
		}
		fmt.Fprintf(&b, "username: %q\npassword: \"file://%s/%s\"\n", p.names[i], secretsDir, secrets[[2]int{i, j}])
		if p.overlap() {
			if n == 0 {
				b.WriteString("// How this site's client ids begin: no other site's may begin so.\n")
			}
			fmt.Fprintf(&b, "clientid: %q\n", p.names[i]+".")
		}
		b.WriteString("}\n")
	}
	b.WriteString("}\n}\n")
	return b.String()
}

// preface says what the files are and what can be done with them.
func (p plan) preface() string {
	shape := "Every site links with every other."
	if p.hub {
		shape = p.names[0] + " is the hub: every other site links with it alone."
	}
	return `// One file for each site. The key below is the site's name, which is also the
// name of its cluster on the wire.
//
// ` + shape + `
// What came in over one link is never sent on over another.
//
//	clinkc vet            check all sites together
//	clinkc explain RULE   what a finding means, and how to mend it
//	clinkd run .          run them
//
// To add a site, copy a file, give it a name and a port of its own, write both
// halves of each of its links, and put a password for each half into secrets/.
// clinkc vet --secrets names what is missing.
`
}

func quotedList(l []string) string {
	q := make([]string, len(l))
	for i, s := range l {
		q[i] = fmt.Sprintf("%q", s)
	}
	return strings.Join(q, ", ")
}

// plant puts the files into dir, which is made if need be: all of them, or none.
// It writes over nothing; a .gitignore that is there gets a line at its end.
func plant(ctx context.Context, dir string, files []seedling) (err error) {
	kept, err := keepIgnored(dir)
	if err != nil {
		return err
	}
	if kept.there {
		files = slices.DeleteFunc(slices.Clone(files), func(f seedling) bool { return f.name == ignoreFile })
	}
	fresh, err := barren(dir, files)
	if err != nil {
		return err
	}
	near := dir // where the files are prepared: on the same file system
	if fresh {
		near = filepath.Dir(filepath.Clean(dir))
		if err := os.MkdirAll(near, 0o777); err != nil {
			return fmt.Errorf("make the topology directory: %w", err)
		}
	}
	bed, err := os.MkdirTemp(near, ".clink-init-*")
	if err != nil {
		return fmt.Errorf("write the topology: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(bed)) }()
	for _, f := range files {
		if ctx.Err() != nil {
			return fmt.Errorf("write the topology: %w", context.Cause(ctx))
		}
		if err := f.write(bed); err != nil {
			return fmt.Errorf("write the topology: %w", err)
		}
	}
	if fresh {
		if err := os.Mkdir(dir, 0o777); err != nil { // with the mode that the user's mask gives
			return fmt.Errorf("make the topology directory: %w", err)
		}
	}
	if err := transplant(bed, dir, files, kept.add); err != nil {
		if fresh {
			err = errors.Join(err, os.Remove(dir))
		}
		return err
	}
	return nil
}

// barren reports whether dir is still to be made; an error says what is in the
// way of the files.
func barren(dir string, files []seedling) (fresh bool, err error) {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Lstat(dir); err == nil {
			return false, fmt.Errorf("%s is a symbolic link that leads nowhere: name another directory", dir)
		}
		return true, nil
	case err != nil:
		return false, fmt.Errorf("read the topology directory: %w", err)
	case !info.IsDir():
		return false, usageError{fmt.Errorf("%s is a file: name a directory", dir), ""}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false, fmt.Errorf("read the topology directory: %w", err)
	}
	roots := tops(files)
	for _, e := range entries {
		taken := slices.ContainsFunc(roots, func(r string) bool { return strings.EqualFold(r, e.Name()) })
		if taken || filepath.Ext(e.Name()) == ".cue" {
			return false, fmt.Errorf("%s is there already, and init writes over nothing: name a new directory", filepath.Join(dir, e.Name()))
		}
	}
	return false, nil
}

// tops are the files and folders that the files make in their directory, the
// site files last.
func tops(files []seedling) []string {
	var l []string
	for _, f := range files {
		top, _, _ := strings.Cut(f.name, "/")
		if !slices.Contains(l, top) {
			l = append(l, top)
		}
	}
	return l
}

// write puts the file under bed. Secrets are their owner's alone.
func (f seedling) write(bed string) error {
	name := filepath.Join(bed, filepath.FromSlash(f.name))
	dirMode, mode := fs.FileMode(0o777), fs.FileMode(0o666)
	if strings.HasPrefix(f.name, secretsDir+"/") {
		dirMode, mode = 0o700, 0o600
	}
	if dir := filepath.Dir(name); dir != bed {
		if err := os.MkdirAll(dir, dirMode); err != nil {
			return err
		}
	}
	return os.WriteFile(name, f.text, mode)
}

// transplant moves what was prepared to its place and does what is last, and
// takes it back if not all of it can be.
func transplant(bed, dir string, files []seedling, last func() error) (err error) {
	var moved []string
	defer func() {
		if err == nil {
			return
		}
		for _, top := range moved {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, top)))
		}
	}()
	for _, top := range tops(files) {
		to := filepath.Join(dir, top)
		if _, err := os.Lstat(to); err == nil {
			return fmt.Errorf("%s is there already, and init writes over nothing: name a new directory", to)
		}
		if err := os.Rename(filepath.Join(bed, top), to); err != nil {
			return fmt.Errorf("write the topology: %w", err)
		}
		moved = append(moved, top)
	}
	return last()
}
