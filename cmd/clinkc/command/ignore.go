package command

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const ignoreFile = ".gitignore"

// gitignore keeps what must not be shared out of git.
const gitignore = `# Passwords and keys: they belong to the hosts, not into the history.
/secrets/
`

// maxIgnored bounds the .gitignore that is read.
const maxIgnored = 1 << 20

// An ignored is a directory's .gitignore as init finds it.
type ignored struct {
	there bool
	add   func() error // writes what it lacks to its end
}

// keepIgnored looks at the .gitignore of dir, which init keeps: most directories
// under git have one.
func keepIgnored(dir string) (ignored, error) {
	nothing := func() error { return nil }
	name := filepath.Join(dir, ignoreFile)
	info, err := os.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ignored{false, nothing}, nil
	case err != nil:
		return ignored{false, nothing}, nil // what is wrong with dir is told by who looks at all of it
	case !info.Mode().IsRegular() || info.Size() > maxIgnored:
		return ignored{}, fmt.Errorf("%s is no file that init could add /%s/ to: name a new directory", name, secretsDir)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return ignored{}, fmt.Errorf("read what git ignores: %w", err)
	}
	if ignoresSecrets(string(text)) {
		return ignored{true, nothing}, nil
	}
	add := gitignore
	if len(text) > 0 {
		add = "\n" + add
		if text[len(text)-1] != '\n' {
			add = "\n" + add
		}
	}
	return ignored{true, func() error { return addTo(name, add) }}, nil
}

// ignoresSecrets reports whether a .gitignore leaves the folder secrets/ beside
// it out, in one of the forms that people write.
func ignoresSecrets(text string) bool {
	ignores := false
	for line := range strings.Lines(text) {
		pattern, not := strings.CutPrefix(strings.TrimRight(line, " \t\r\n"), "!")
		pattern = strings.TrimPrefix(strings.TrimPrefix(pattern, "**"), "/")
		switch strings.TrimRight(strings.TrimSuffix(pattern, "/**"), "*/") {
		case secretsDir:
			ignores = !not
		default:
			// A part of it is to be shared: what follows is to decide.
			ignores = ignores && !(not && strings.HasPrefix(pattern, secretsDir))
		}
	}
	return ignores
}

// addTo writes text to the end of a file, and touches nothing before it.
func addTo(name, text string) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return fmt.Errorf("keep secrets/ out of git: %w", err)
	}
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("keep secrets/ out of git: %w", err)
	}
	return nil
}
