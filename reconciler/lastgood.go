package reconciler

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"

	"clink/topology"
)

// A LastGood is the state that links and sites are held back at, as it is kept
// over a restart.
type LastGood struct {
	Topology *topology.Topology
	Held     []topology.Held
	Revision string
}

// ErrUnusable says that a file does not hold a last good state that this clink
// can read: it is damaged, too large, or of another version.
var ErrUnusable = errors.New("last good state is unusable")

const (
	lastGoodVersion = 1
	maxLastGood     = 256 << 20
	// A file is one line of this form and then the state as JSON.
	lastGoodHead = "clink last good state, version %d, %d bytes, SHA-256 %x\n"
)

// SaveLastGood writes the state to path so that a crash at any moment leaves
// either the old or the new one. Only the file's owner may read it: it holds
// the literals among the secrets ([clink/internal/secret.Ref.GobEncode]). A
// file that holds the same state already is not written again.
func SaveLastGood(path string, g LastGood) error {
	tree, err := plain(reflect.ValueOf(g))
	if err != nil {
		return fmt.Errorf("save the last good state: %w", err)
	}
	body, err := json.Marshal(tree)
	if err != nil {
		return fmt.Errorf("save the last good state: %w", err)
	}
	if len(body) > maxLastGood {
		return fmt.Errorf("save the last good state: its %d bytes are more than %d", len(body), maxLastGood)
	}
	head := fmt.Appendf(nil, lastGoodHead, lastGoodVersion, len(body), sha256.Sum256(body))
	if holds(path, head, len(body)) {
		return nil
	}
	if err := replace(path, append(head, body...)); err != nil {
		return fmt.Errorf("save the last good state: %w", err)
	}
	return nil
}

// holds reports whether the file begins with head, and is as long as it says.
func holds(path string, head []byte, body int) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	info, err := f.Stat()
	got := make([]byte, len(head))
	if _, readErr := io.ReadFull(f, got); err != nil || readErr != nil {
		return false
	}
	return bytes.Equal(got, head) && info.Size() == int64(len(head)+body) && info.Mode().Perm() == 0o600
}

// replace writes beside path, and then renames over it.
func replace(path string, data []byte) (err error) {
	tmp := path + ".tmp"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	if err := os.Rename(tmp, path); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// ReadLastGood reads what [SaveLastGood] wrote. Without a file the error is
// [fs.ErrNotExist]. A file that is [ErrUnusable] is set aside under its name
// with ".unusable" added, so that the next save does not destroy it.
func ReadLastGood(path string) (LastGood, error) {
	g, err := readLastGood(path)
	if errors.Is(err, ErrUnusable) {
		aside := path + ".unusable"
		if moved := os.Rename(path, aside); moved != nil {
			return LastGood{}, fmt.Errorf("read %s: %w; setting it aside: %w", path, err, moved)
		}
		return LastGood{}, fmt.Errorf("read %s: %w; it is kept as %s", path, err, aside)
	}
	if err != nil {
		return LastGood{}, fmt.Errorf("read the last good state: %w", err)
	}
	return g, nil
}

func readLastGood(path string) (LastGood, error) {
	f, err := os.Open(path)
	if err != nil {
		return LastGood{}, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return LastGood{}, err
	} else if !info.Mode().IsRegular() {
		return LastGood{}, fmt.Errorf("%s is not a regular file", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxLastGood+1024))
	if err != nil {
		return LastGood{}, err
	}
	return parseLastGood(data)
}

func parseLastGood(data []byte) (g LastGood, err error) {
	head, body, _ := bytes.Cut(data, []byte("\n"))
	var version, size int
	var sum []byte
	if len(head) > 200 {
		head = head[:200]
	}
	// Scanning stops at what does not fit; a later version may go on otherwise.
	n, _ := fmt.Sscanf(string(head)+"\n", lastGoodHead, &version, &size, &sum)
	switch got := sha256.Sum256(body); {
	case n == 0:
		return g, fmt.Errorf("%w: it does not begin as such a file does", ErrUnusable)
	case version != lastGoodVersion:
		return g, fmt.Errorf("%w: it is of version %d, and this clink reads version %d", ErrUnusable, version, lastGoodVersion)
	case n != 3 || size != len(body) || !bytes.Equal(sum, got[:]):
		return g, fmt.Errorf("%w: it is cut off or damaged", ErrUnusable)
	}
	numbers := json.NewDecoder(bytes.NewReader(body))
	numbers.UseNumber()
	var tree any
	if err := numbers.Decode(&tree); err != nil {
		return g, fmt.Errorf("%w: %v", ErrUnusable, err)
	}
	if err := unplain(tree, reflect.ValueOf(&g).Elem()); err != nil {
		return LastGood{}, fmt.Errorf("%w: %v", ErrUnusable, err)
	}
	if g.Topology == nil {
		return LastGood{}, fmt.Errorf("%w: it holds no topology", ErrUnusable)
	}
	return g, nil
}
