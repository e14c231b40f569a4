package command

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// A pending file lies complete beside its place, under a hidden name.
type pending struct {
	name string // its place
	temp string // "" once it is there
}

// prepare writes text beside name, to be readable for everybody.
func prepare(name string, text []byte) (*pending, error) {
	f, err := os.CreateTemp(filepath.Dir(name), ".clink-*")
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", name, err)
	}
	p := &pending{name, f.Name()}
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close(), os.Chmod(p.temp, 0o644))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("write %s: %w", name, err), p.discard())
	}
	return p, nil
}

// commit puts the file into its place, over what may be there.
func (p *pending) commit() error {
	if err := os.Rename(p.temp, p.name); err != nil {
		return fmt.Errorf("write %s: %w", p.name, err)
	}
	p.temp = ""
	return nil
}

// discard removes the file unless it was put into its place.
func (p *pending) discard() error {
	if p.temp == "" {
		return nil
	}
	return os.Remove(p.temp)
}

// errChanged says that a file is not any more what was read of it.
var errChanged = errors.New("it was changed meanwhile")

// supersede prepares text for the place of a file that holds old: whoever reads
// it sees the one or the other. The file keeps its mode, and its owner where
// that may be given; one that is a symbolic link stays one.
func supersede(name string, old, text []byte) (*pending, error) {
	real, err := filepath.EvalSymlinks(name)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", name, err)
	}
	info, err := os.Stat(real)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", name, err)
	}
	p, err := prepare(real, text)
	if err != nil {
		return nil, err
	}
	keepOwner(p.temp, info)
	err = os.Chmod(p.temp, info.Mode().Perm())
	now, readErr := os.ReadFile(real)
	if err = errors.Join(err, readErr); err == nil && !bytes.Equal(now, old) {
		err = errChanged
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("write %s: %w", name, err), p.discard())
	}
	return p, nil
}
