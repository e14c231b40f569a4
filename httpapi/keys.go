package httpapi

import (
	"bufio"
	"bytes"
	"cmp"
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
	slow chan struct{} // a token for each slow hash that is being computed

	mu     sync.Mutex
	byName map[string]apiKey
	hash   string                     // one of the slow hashes among them, if there is one
	passed map[[sha256.Size]byte]bool // digests of key and secret that matched a slow hash
}

type apiKey struct{ secret, role string }

const (
	maxKeys = 10_000 // in a file
	// maxSlow bounds how much of the processor guesses at secrets can take: a
	// broker runs in the same process.
	maxSlow = 2
)

// ParseKeys reads EMQX's bootstrap form: a line key:secret or
// key:secret:role each, role administrator (the default) or viewer. The secret
// may be a bcrypt hash. Blank lines and lines that begin with # are skipped.
// Errors name the line, never what is in it.
func ParseKeys(b []byte) (*Keys, error) {
	k := &Keys{slow: make(chan struct{}, maxSlow)}
	return k, k.Reload(b)
}

// Reload puts other keys in place of those there are, from a file as
// [ParseKeys] reads it. Sessions of a key that is gone or has changed end.
// After an error the keys are as before.
func (k *Keys) Reload(b []byte) error {
	byName, err := parseKeys(b)
	if err != nil {
		return err
	}
	hash := ""
	for _, key := range byName {
		if secret.IsHash(key.secret) {
			hash = key.secret
			break
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.byName, k.hash, k.passed = byName, hash, map[[sha256.Size]byte]bool{}
	return nil
}

func parseKeys(b []byte) (map[string]apiKey, error) {
	byName := map[string]apiKey{}
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
		if _, ok := byName[name]; ok {
			return nil, fmt.Errorf("line %d: the key stands twice", n)
		}
		if byName[name] = key; len(byName) > maxKeys {
			return nil, fmt.Errorf("line %d: more than %d keys", n, maxKeys)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(byName) == 0 {
		return nil, errors.New("no key in it: write one key:secret a line")
	}
	return byName, nil
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
	digest := sha256.Sum256([]byte(name + "\x00" + given))
	k.mu.Lock()
	key, known := k.byName[name]
	hash, passed := k.hash, k.passed[digest]
	k.mu.Unlock()
	if !known {
		// Spend what a known key would, so that names cannot be told apart.
		k.matches(cmp.Or(hash, "no such key"), given)
		return "", false
	}
	// bcrypt is slow on purpose: a dashboard that asks ten times a second
	// pays for it once.
	if passed {
		return key.role, true
	}
	if !k.matches(key.secret, given) {
		return "", false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if secret.IsHash(key.secret) && k.byName[name] == key {
		if len(k.passed) >= maxKeys {
			clear(k.passed) // bcrypt looks at 72 bytes: many secrets can match one hash
		}
		k.passed[digest] = true
	}
	return key.role, true
}

// matches is [secret.Matches], a few slow ones at a time.
func (k *Keys) matches(want, given string) bool {
	if secret.IsHash(want) {
		k.slow <- struct{}{}
		defer func() { <-k.slow }()
	}
	return secret.Matches(want, given)
}

// proof stands for a key as it is now; of one that there is not it is zero.
func (k *Keys) proof(name string) (p [sha256.Size]byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if key, ok := k.byName[name]; ok {
		p = sha256.Sum256([]byte(name + "\x00" + key.secret + "\x00" + key.role))
	}
	return p
}
