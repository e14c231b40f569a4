package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"clink/schema"
	"clink/topology"
)

// moduleFile is what makes a directory a CUE module, without which plain cue
// does not look for packages in it.
const moduleFile = "cue.mod/module.cue"

// module is the content of moduleFile where there is none. The language
// version is the first that knows error, which the published rules speak with.
const module = `module: "clink.dev/topology"
language: version: "v0.14.0"
`

// schema writes the CUE schema, and the file that applies it, into a topology
// directory. It writes over nothing that is not its own.
func (c Command) schema(ctx context.Context, s subcommand, args []string) error {
	rest, err := c.parse(s, newFlags(), args, 1)
	if err != nil {
		return helped(err)
	}
	name := "."
	if len(rest) > 0 {
		name = rest[0]
	}
	dir := c.path(name)
	if err := checkDir(name, dir); err != nil {
		return err
	}
	files, err := schemaFiles(dir)
	if err != nil {
		return err
	}
	// What there is to name in a topology that does not compile is not worth a
	// failure: the schema is wanted most where something is amiss.
	if l, err := c.load(ctx, rest, loading{}); err == nil {
		files[schema.Generated] = append(bytes.Clone(files[schema.Generated]), schema.Editor(guides(l.Topology))...)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		wrote, err := update(filepath.Join(dir, filepath.FromSlash(name)), files[name])
		if err != nil {
			return err
		}
		if wrote {
			fmt.Fprintf(c.Stderr, "clinkc: wrote %s\n", filepath.Join(dir, name))
		}
	}
	return nil
}

// guides name the sites of a topology, with their listeners and links.
func guides(t *topology.Topology) []schema.Guide {
	var all []schema.Guide
	for _, name := range t.Names() {
		g := schema.Guide{Site: name}
		for _, l := range t.Sites[name].Listeners {
			g.Listeners = append(g.Listeners, l.Name)
		}
		for _, l := range t.Sites[name].Links {
			g.Links = append(g.Links, l.Name)
		}
		all = append(all, g)
	}
	return all
}

// schemaFiles returns the files to write into dir, by slash-separated name.
func schemaFiles(dir string) (map[string][]byte, error) {
	files, err := schema.Vendored()
	if err != nil {
		return nil, err
	}
	files = maps.Clone(files)
	// The first line of the generated file says whose it is.
	mine, _, _ := bytes.Cut(files[schema.Generated], []byte("\n"))
	there, err := os.ReadFile(filepath.Join(dir, schema.Generated))
	switch {
	case err == nil && !bytes.HasPrefix(there, mine):
		return nil, fmt.Errorf("%s was not written by clinkc schema: move it out of the way", filepath.Join(dir, schema.Generated))
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("read %s: %w", schema.Generated, err)
	}
	_, err = os.Stat(filepath.Join(dir, filepath.FromSlash(moduleFile)))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		files[moduleFile] = []byte(module)
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", moduleFile, err)
	}
	return files, nil
}

// update writes text to a file, with the directories that lead there, unless
// it is what the file holds.
func update(name string, text []byte) (wrote bool, err error) {
	if there, err := os.ReadFile(name); err == nil && bytes.Equal(there, text) {
		return false, nil
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		return false, fmt.Errorf("write %s: %w", name, err)
	}
	f, err := prepare(name, text)
	if err != nil {
		return false, err
	}
	return true, errors.Join(f.commit(), f.discard())
}
