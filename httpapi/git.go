package httpapi

import "time"

// Git is how far what is written back has come in git.
type Git struct {
	Commit      string        `json:"commit"`         // our last one, "" if none was made since the start
	Uncommitted []Uncommitted `json:"uncommitted"`    // on disk, and tried again
	Unpushed    int           `json:"unpushed"`       // commits that the remote branch is not known to have
	Lost        string        `json:"lost,omitempty"` // our last commit, if the tree was set back behind it
	PushError   string        `json:"push_error,omitempty"`
	PushNext    time.Time     `json:"push_next,omitzero"` // when it is tried again
}

// Uncommitted is an edit that is on disk and in no commit yet.
type Uncommitted struct {
	Subject string    `json:"subject"`
	Since   time.Time `json:"since"`
	Error   string    `json:"error,omitempty"`
}
