package reconciler

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"

	"clink/internal/atomicfile"
)

// ErrUnusable says that a file does not hold what it should in a form that
// this clink can read: it is damaged, too large, or of another version.
var ErrUnusable = errors.New("unusable")

// A kept is a kind of file that outlives the process. It is one line that says
// what it is, and then a value as JSON.
type kept struct {
	what string
	most int // bytes of JSON
}

const keptVersion = 1

// head is the form of the first line.
func (k kept) head() string { return "clink " + k.what + ", version %d, %d bytes, SHA-256 %x\n" }

// save writes v to path, for the file's owner alone, so that a crash at any
// moment leaves either the old or the new. A file that holds v already is not
// written again. The other paths get the same.
func (k kept) save(path string, v any, others ...string) error {
	tree, err := plain(reflect.ValueOf(v))
	if err != nil {
		return fmt.Errorf("save the %s: %w", k.what, err)
	}
	body, err := json.Marshal(tree)
	if err != nil {
		return fmt.Errorf("save the %s: %w", k.what, err)
	}
	if len(body) > k.most {
		return fmt.Errorf("save the %s: its %d bytes are more than %d", k.what, len(body), k.most)
	}
	head := fmt.Appendf(nil, k.head(), keptVersion, len(body), sha256.Sum256(body))
	data := append(bytes.Clone(head), body...)
	var errs []error
	for _, path := range append([]string{path}, others...) {
		if holds(path, head, len(body)) {
			continue
		}
		if err := atomicfile.Replace(path, data); err != nil {
			errs = append(errs, fmt.Errorf("save the %s: %w", k.what, err))
		}
	}
	return errors.Join(errs...)
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

// read reads what save wrote into the struct that v points to; check says what
// is wrong with that. Without a file the error is [fs.ErrNotExist]. A file that
// is [ErrUnusable] is set aside.
func (k kept) read(path string, v any, check func() error) error {
	err := k.open(path, v)
	if err == nil {
		err = check()
	}
	if errors.Is(err, ErrUnusable) {
		aside := path + ".unusable"
		if moved := os.Rename(path, aside); moved != nil {
			return fmt.Errorf("read the %s %s: %w; setting it aside: %w", k.what, path, err, moved)
		}
		return fmt.Errorf("read the %s %s: %w; it is kept as %s", k.what, path, err, aside)
	}
	if err != nil {
		return fmt.Errorf("read the %s: %w", k.what, err)
	}
	return nil
}

func (k kept) open(path string, v any) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return err
	} else if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, int64(k.most)+1024))
	if err != nil {
		return err
	}
	return k.parse(data, v)
}

func (k kept) parse(data []byte, v any) error {
	head, body, _ := bytes.Cut(data, []byte("\n"))
	var version, size int
	var sum []byte
	if len(head) > 200 {
		head = head[:200]
	}
	// Scanning stops at what does not fit; a later version may go on otherwise.
	n, _ := fmt.Sscanf(string(head)+"\n", k.head(), &version, &size, &sum)
	switch got := sha256.Sum256(body); {
	case n == 0:
		return fmt.Errorf("%w: it does not begin as such a file does", ErrUnusable)
	case version != keptVersion:
		return fmt.Errorf("%w: it is of version %d, and this clink reads version %d", ErrUnusable, version, keptVersion)
	case n != 3 || size != len(body) || !bytes.Equal(sum, got[:]):
		return fmt.Errorf("%w: it is cut off or damaged", ErrUnusable)
	}
	numbers := json.NewDecoder(bytes.NewReader(body))
	numbers.UseNumber()
	var tree any
	if err := numbers.Decode(&tree); err != nil {
		return fmt.Errorf("%w: %v", ErrUnusable, err)
	}
	if err := unplain(tree, reflect.ValueOf(v).Elem()); err != nil {
		return fmt.Errorf("%w: %v", ErrUnusable, err)
	}
	return nil
}
