package httpapi

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"

	"clink/internal/secret"
)

// The roles of an API key. A viewer reads.
const (
	administrator = "administrator"
	viewer        = "viewer"
)

// Keys are the API keys that are let in. They are safe for concurrent use.
type Keys struct {
	byName map[string]apiKey

	mu     sync.Mutex
	passed map[[sha256.Size]byte]bool // digests of key and secret that matched a slow hash
}

type apiKey struct{ secret, role string }

// maxKeys bounds a file of keys.
const maxKeys = 10_000

// ParseKeys reads EMQX's bootstrap form: a line key:secret or
// key:secret:role each, role administrator (the default) or viewer. The secret
// may be a bcrypt hash. Blank lines and lines that begin with # are skipped.
// Errors name the line, never what is in it.
func ParseKeys(b []byte) (*Keys, error) {
	k := &Keys{byName: map[string]apiKey{}, passed: map[[sha256.Size]byte]bool{}}
	lines := bufio.NewScanner(bytes.NewReader(b))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		name, key, err := parseKey(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if _, ok := k.byName[name]; ok {
			return nil, fmt.Errorf("line %d: the key stands twice", n)
		}
		if k.byName[name] = key; len(k.byName) > maxKeys {
			return nil, fmt.Errorf("line %d: more than %d keys", n, maxKeys)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(k.byName) == 0 {
		return nil, errors.New("no key in it: write one key:secret a line")
	}
	return k, nil
}

func parseKey(line string) (string, apiKey, error) {
	name, rest, ok := strings.Cut(line, ":")
	sec, role, hasRole := strings.Cut(rest, ":")
	switch {
	case !ok || name == "" || sec == "":
		return "", apiKey{}, errors.New("not of the form key:secret or key:secret:role")
	case !hasRole:
		role = administrator
	case role != administrator && role != viewer:
		return "", apiKey{}, errors.New("the role is neither administrator nor viewer")
	}
	return name, apiKey{sec, role}, nil
}

// role returns the role of a key that proves its secret.
func (k *Keys) role(name, given string) (string, bool) {
	key, known := k.byName[name]
	if !known {
		// Spend what a known key would, so that names cannot be told apart.
		secret.Matches("no such key", given)
		return "", false
	}
	if !secret.IsHash(key.secret) {
		return key.role, secret.Matches(key.secret, given)
	}
	// bcrypt is slow on purpose: a dashboard that asks ten times a second
	// pays for it once.
	digest := sha256.Sum256([]byte(name + "\x00" + given))
	k.mu.Lock()
	passed := k.passed[digest]
	k.mu.Unlock()
	if passed {
		return key.role, true
	}
	if !secret.Matches(key.secret, given) {
		return "", false
	}
	k.mu.Lock()
	if len(k.passed) >= maxKeys {
		clear(k.passed) // bcrypt looks at 72 bytes: many secrets can match one hash
	}
	k.passed[digest] = true
	k.mu.Unlock()
	return key.role, true
}
