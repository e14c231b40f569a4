package source

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// A journal says, while several files are being replaced, what is to become of
// each: one file needs none, since it is swapped in one step.
type journal struct {
	Version int            `json:"version"`
	Files   []journalEntry `json:"files"`
}

type journalEntry struct {
	Place string `json:"place"`
	Temp  string `json:"temp"`
	Old   string `json:"old"` // SHA-256
	New   string `json:"new"`
}

const (
	journalVersion = 1
	maxJournal     = 1 << 20
)

func (d *Dir) journal() string { return filepath.Join(d.path, journalName) }

// writeJournal makes it certain that what is begun will be ended.
func (s *staged) writeJournal() error {
	if len(s.files) < 2 {
		return nil
	}
	j := journal{Version: journalVersion}
	for _, f := range s.files {
		j.Files = append(j.Files, journalEntry{f.place, f.temp, f.old, digestOf(f.text)})
	}
	text, err := json.MarshalIndent(j, "", "  ")
	if err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	name := s.dir.journal()
	temp := name + ".new"
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close(), syncDirs(s.dirs))
	s.dir.step("journal written")
	if err == nil {
		err = os.Rename(temp, name)
	}
	if err = errors.Join(err, syncDirs([]string{s.dir.path})); err != nil {
		return errors.Join(fmt.Errorf("write the journal: %w", err), os.Remove(temp))
	}
	s.dir.step("journal in force")
	return nil
}

// recover ends what the journal of a process that died says, and takes away
// what it left. The directory must be locked.
func (d *Dir) recover() error {
	text, err := os.ReadFile(d.journal())
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("read %s: %w", d.journal(), err)
	default:
		if err := d.replay(text); err != nil {
			return err
		}
	}
	d.sweep()
	return nil
}

// replay goes forward where every file can, and else back: an old file whose
// new text is gone cannot be made new.
func (d *Dir) replay(text []byte) error {
	var j journal
	if err := json.Unmarshal(text, &j); err != nil || len(text) > maxJournal || j.Version != journalVersion {
		return fmt.Errorf("%s is not a journal that this clink can read: look at the files named in it, mend them by hand, and remove it", d.journal())
	}
	forward := true
	var dirs []string
	for _, e := range j.Files {
		dirs = append(dirs, filepath.Dir(e.Place))
		forward = forward && (digestAt(e.Place) != e.Old || digestAt(e.Temp) == e.New)
	}
	for _, e := range j.Files {
		from, to := e.Old, e.New
		if !forward {
			from, to = e.New, e.Old
		}
		// What is neither was saved by somebody since, and is his.
		if digestAt(e.Place) != from || digestAt(e.Temp) != to {
			continue
		}
		if err := os.Rename(e.Temp, e.Place); err != nil {
			return fmt.Errorf("end an interrupted change of %s: %w", e.Place, err)
		}
		d.step("replayed")
	}
	d.log.Warn("a change of the source that was interrupted has been ended", "files", len(j.Files), "made", forward)
	if err := syncDirs(dirs); err != nil {
		return err
	}
	return os.Remove(d.journal())
}

// sweep takes away what lies beside the places of files, where nobody needs it
// any more. Where that cannot be done it does no harm.
func (d *Dir) sweep() {
	dirs := []string{resolved(d.path)}
	d.mu.Lock()
	for dir := range d.used {
		dirs = append(dirs, dir)
	}
	d.mu.Unlock()
	_ = os.Remove(d.journal() + ".new")
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			if isTemp(e) {
				_ = os.Remove(filepath.Join(dir, e.Name()))
			}
		}
	}
}
