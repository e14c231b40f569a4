// Package secret names where a credential is kept, without holding it: a file
// (file://relative or file:///absolute), an environment variable (env://NAME),
// or, where a user insists, a literal in the source.
//
// A [Ref] prints as its reference; a literal prints as six asterisks in every
// form that Go's printing, logging and encoding know, but for [Ref.GobEncode]. The credential itself is
// read only by [Ref.Resolve], at the moment of use.
package secret

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

// Redacted stands in the place of a literal credential.
const Redacted = "******"

// MaxSize bounds a credential read from a file, in bytes.
const MaxSize = 64 << 10

// Trimmed are the characters that do not count at the end of such a file.
const Trimmed = " \t\r\n"

const (
	filePrefix = "file://"
	envPrefix  = "env://"
)

// A Ref says where one credential is kept. The zero Ref is "none". It is
// comparable; two Refs are equal if their texts are.
type Ref struct{ text string }

// Parse returns the Ref that the source text s means. Every text that is no
// well-formed reference is a literal, except the empty one (none) and a
// reference without a name, which is an error.
func Parse(s string) (Ref, error) {
	switch {
	case s == filePrefix, s == filePrefix+"/":
		return Ref{}, errors.New("file:// names no file: write file://relative/path or file:///absolute/path")
	case s == envPrefix, strings.HasPrefix(s, envPrefix) && strings.ContainsAny(s[len(envPrefix):], "=\x00"):
		return Ref{}, errors.New("env:// names no environment variable: write env://NAME")
	}
	return Ref{s}, nil
}

// IsZero reports whether r names no credential.
func (r Ref) IsZero() bool { return r.text == "" }

// IsLiteral reports whether r holds the credential itself.
func (r Ref) IsLiteral() bool {
	return r.text != "" && !strings.HasPrefix(r.text, filePrefix) && !strings.HasPrefix(r.text, envPrefix)
}

// IsRedacted reports whether r holds, in place of a credential, the asterisks
// that one is shown as.
func (r Ref) IsRedacted() bool { return r.text == Redacted }

// String is the reference as written, six asterisks for a literal, or "".
func (r Ref) String() string {
	if r.IsLiteral() {
		return Redacted
	}
	return r.text
}

// GoString, MarshalText and LogValue say what String says.
func (r Ref) GoString() string             { return fmt.Sprintf("secret.Ref(%q)", r.String()) }
func (r Ref) MarshalText() ([]byte, error) { return []byte(r.String()), nil }
func (r Ref) LogValue() slog.Value         { return slog.StringValue(r.String()) }

// GobEncode gives the text itself, also of a literal. It is the one encoding
// that does: clinkd keeps its last good state in a file that only its user may
// read, and a literal that came back as asterisks from there would cut off the
// link that it is to keep alive. Nothing that is shown or sent is encoded so.
func (r Ref) GobEncode() ([]byte, error) { return []byte(r.text), nil }

// GobDecode reads what GobEncode gave.
func (r *Ref) GobDecode(b []byte) error {
	v, err := Parse(string(b))
	if err != nil {
		return err
	}
	*r = v
	return nil
}

// File returns the path of the file that holds the credential, relative paths
// joined to base, and "" if it is not kept in a file.
func (r Ref) File(base string) string {
	path, ok := strings.CutPrefix(r.text, filePrefix)
	if !ok {
		return ""
	}
	path = filepath.FromSlash(path)
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(base, path)
}

// Resolve reads the credential; relative file paths are relative to base.
// White space at the end of a file is not part of it. An error names the
// reference, never the credential.
func (r Ref) Resolve(base string) (string, error) {
	if name, ok := strings.CutPrefix(r.text, envPrefix); ok {
		if v, ok := os.LookupEnv(name); ok && v != "" {
			return v, nil
		}
		return "", fmt.Errorf("secret %s: environment variable %s is not set or empty", r, name)
	}
	path := r.File(base)
	if path == "" {
		return r.text, nil
	}
	v, err := readFile(path)
	if err != nil {
		return "", fmt.Errorf("secret %s: %w", r, err)
	}
	return v, nil
}

func readFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return "", err
	} else if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a regular file", path)
	}
	b, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return "", err
	}
	v := strings.TrimRight(string(b), Trimmed)
	switch {
	case len(b) > MaxSize:
		return "", fmt.Errorf("%s is larger than %d bytes", path, MaxSize)
	case v == "":
		return "", fmt.Errorf("%s is empty", path)
	}
	return v, nil
}
