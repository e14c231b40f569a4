package linkengine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"clink/internal/atomicfile"
)

// incarnations hands out incarnation numbers: Unix milliseconds, but always
// more than the one before, across restarts and whatever the clock does
// (section 7). A number is on disk before it is used.
type incarnations struct {
	file string // empty: none is kept

	mu   sync.Mutex
	last int64
}

const incarnationFile = "incarnation"

func openIncarnations(dir string) (*incarnations, error) {
	if dir == "" {
		return &incarnations{}, nil
	}
	inc := &incarnations{file: filepath.Join(dir, incarnationFile)}
	b, err := os.ReadFile(inc.file)
	if errors.Is(err, fs.ErrNotExist) {
		return inc, nil
	}
	if err != nil {
		return nil, err
	}
	inc.last, err = strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil || inc.last < 0 {
		return nil, fmt.Errorf("%s does not hold a number: put the current Unix time in milliseconds there, or delete it and wait a minute for the peers to forget this cluster's routes", inc.file)
	}
	return inc, nil
}

func (inc *incarnations) next(now time.Time) (int64, error) {
	inc.mu.Lock()
	defer inc.mu.Unlock()
	n := max(inc.last+1, now.UnixMilli())
	if inc.file != "" {
		if err := atomicfile.Replace(inc.file, fmt.Appendln(nil, n)); err != nil {
			return 0, fmt.Errorf("keep the incarnation: %w", err)
		}
	}
	inc.last = n
	return n, nil
}
