package command

import (
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
