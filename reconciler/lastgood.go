package reconciler

import (
	"fmt"

	"clink/topology"
)

// A LastGood is the state that links and sites are held back at, as it is kept
// over a restart.
type LastGood struct {
	Topology *topology.Topology
	Held     []topology.Held
	Revision string
}

var lastGoodFile = kept{what: "last good state", most: 256 << 20}

// SaveLastGood writes the state to path so that a crash at any moment leaves
// either the old or the new one. Only the file's owner may read it: it holds
// the literals among the secrets ([clink/internal/secret.Ref.GobEncode]). A
// file that holds the same state already is not written again. It is written to
// the other paths alike.
func SaveLastGood(path string, g LastGood, others ...string) error {
	return lastGoodFile.save(path, g, others...)
}

// ReadLastGood reads what [SaveLastGood] wrote. Without a file the error is
// [fs.ErrNotExist]. A file that is [ErrUnusable] is set aside under its name
// with ".unusable" added, so that the next save does not destroy it.
func ReadLastGood(path string) (LastGood, error) {
	var g LastGood
	err := lastGoodFile.read(path, &g, func() error {
		if g.Topology == nil {
			return fmt.Errorf("%w: it holds no topology", ErrUnusable)
		}
		return nil
	})
	if err != nil {
		return LastGood{}, err
	}
	return g, nil
}
