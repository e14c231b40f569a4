package broker

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"clink/internal/secret"

	"golang.org/x/crypto/bcrypt"
)

// maxCost bounds the work of one bcrypt comparison (2^14 rounds, about a
// second).
const maxCost = 14

// A vault turns passwords into digests under a key that never leaves the
// process, so that none is held in clear and comparing takes constant time.
type vault struct {
	key   [32]byte
	slots chan struct{} // bounds bcrypt comparisons at a time
}

type digest [sha256.Size]byte

func newVault() (*vault, error) {
	v := &vault{slots: make(chan struct{}, 2)}
	_, err := rand.Read(v.key[:])
	return v, err
}

func (v *vault) digest(password []byte) digest {
	h := hmac.New(sha256.New, v.key[:])
	h.Write(password)
	return digest(h.Sum(nil))
}

// A credential is what a password is checked against: a digest, or a bcrypt
// hash and the digest of the password that last fitted it.
type credential struct {
	source string // what it was made from, digested; equal sources are the same credential
	plain  digest
	hash   []byte
	good   atomic.Pointer[digest]
}

// resolve reads a credential. Hash wins over password; neither is an error.
func (v *vault) resolve(password, hash secret.Ref, base string) (*credential, error) {
	if hash.IsZero() {
		text, err := password.Resolve(base)
		if err != nil {
			return nil, err
		}
		if text == "" {
			return nil, errors.New("no password is given")
		}
		d := v.digest([]byte(text))
		return &credential{plain: d, source: "p" + string(d[:])}, nil
	}
	text, err := hash.Resolve(base)
	if err != nil {
		return nil, err
	}
	cost, err := bcrypt.Cost([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("secret %s: not a bcrypt hash", hash)
	}
	if cost > maxCost {
		return nil, fmt.Errorf("secret %s: bcrypt cost %d is above %d", hash, cost, maxCost)
	}
	d := v.digest([]byte(text))
	return &credential{hash: []byte(text), source: "h" + string(d[:])}, nil
}

// check reports whether a password fits, and its digest. A nil credential
// fits nothing, in about the time that a plain one takes. Busy says that it
// was not looked at, because too many others are.
func (v *vault) check(c *credential, password []byte) (d digest, ok, busy bool) {
	d = v.digest(password)
	if c == nil {
		subtle.ConstantTimeCompare(d[:], v.key[:])
		return d, false, false
	}
	if c.hash == nil {
		return d, subtle.ConstantTimeCompare(d[:], c.plain[:]) == 1, false
	}
	if good := c.good.Load(); good != nil && subtle.ConstantTimeCompare(d[:], good[:]) == 1 {
		return d, true, false
	}
	timer := time.NewTimer(takeOverTimeout)
	defer timer.Stop()
	select {
	case v.slots <- struct{}{}:
	case <-timer.C: // somebody is guessing: better refuse than pile up
		return d, false, true
	}
	defer func() { <-v.slots }()
	if bcrypt.CompareHashAndPassword(c.hash, password) != nil {
		return d, false, false
	}
	c.good.Store(&d)
	return d, true, false
}

// still reports whether a password with digest d, let in before, would be let
// in again, without knowing it.
func (c *credential) still(d digest) bool {
	if c.hash == nil {
		return subtle.ConstantTimeCompare(d[:], c.plain[:]) == 1
	}
	good := c.good.Load()
	return good != nil && subtle.ConstantTimeCompare(d[:], good[:]) == 1
}
