package compiler

import (
	"errors"
	"fmt"
	"io/fs"
	"path"

	"clink/schema"

	"cuelang.org/go/cue/ast"
)

// read returns the files of package name in a folder. The schema is known
// without being vendored.
func (l *loader) read(folder, name string) ([]*ast.File, error) {
	entries, err := fs.ReadDir(l.src.fsys, folder)
	if errors.Is(err, fs.ErrNotExist) {
		if path.Join("cue.mod/pkg", schemaPackage) == folder {
			return embedded()
		}
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var files []*ast.File
	for _, e := range entries {
		if e.IsDir() || !isCUE(e.Name()) {
			continue
		}
		file := path.Join(folder, e.Name())
		text, err := l.src.read(file)
		if err != nil {
			return nil, err
		}
		l.src.imported[file] = text
		f, pos, why := parseFile(file, text)
		if why != "" {
			return nil, fmt.Errorf("%v: %s", pos, why)
		}
		if f.PackageName() == name && !ignored(f) {
			files = append(files, f)
		}
	}
	return files, nil
}

func embedded() ([]*ast.File, error) {
	text, err := schema.FS.ReadFile("schema.cue")
	if err != nil {
		return nil, err
	}
	f, _, why := parseFile(ownPrefix+"schema.cue", text)
	if why != "" {
		return nil, errors.New(why)
	}
	return []*ast.File{f}, nil
}
