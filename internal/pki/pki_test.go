//go:build unix

package pki_test

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"clink/internal/pki"
)

const certs = "../../examples/topologies/tls-pair/certs"

func TestKeyPairAndAuthorities(t *testing.T) {
	base := t.TempDir()
	for name, text := range map[string]string{"text.pem": "no PEM", "empty.pem": "", "huge.pem": strings.Repeat("x", pki.MaxFile+1)} {
		if err := os.WriteFile(filepath.Join(base, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(base, "pipe.pem"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"text.pem": "holds no certificate", "empty.pem": "holds no certificate", "huge.pem": "is larger than",
		"none.pem": "no such file", ".": "is not a regular file", "pipe.pem": "is not a regular file",
	} {
		if _, err := pki.Authorities(base, name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Authorities(%s) = %v, want %q", name, err, want)
		}
		if _, err := pki.KeyPair(base, name, name); err == nil {
			t.Errorf("KeyPair(%s) is read", name)
		}
	}
	if _, err := pki.Authorities(certs, "ca.pem"); err != nil {
		t.Error(err)
	}
	files, err := filepath.Glob(filepath.Join(certs, "*.key"))
	if err != nil || len(files) < 2 {
		t.Fatal(files, err)
	}
	abs, err := filepath.Abs(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for i, key := range []string{abs, filepath.Base(files[0])} {
		if _, err := pki.KeyPair(certs, strings.TrimSuffix(key, ".key")+".pem", key); err != nil {
			t.Error(i, err)
		}
	}
	if _, err := pki.KeyPair(certs, filepath.Base(strings.TrimSuffix(files[0], ".key")+".pem"), filepath.Base(files[1])); err == nil {
		t.Error("a key that does not fit is taken")
	}
}

func TestVersions(t *testing.T) {
	tests := []struct {
		names   []string
		lo, hi  uint16
		refused bool
	}{
		{nil, tls.VersionTLS12, 0, false},
		{[]string{"tlsv1.3", "tlsv1.2"}, tls.VersionTLS12, tls.VersionTLS13, false},
		{[]string{"tlsv1.3"}, tls.VersionTLS13, tls.VersionTLS13, false},
		{[]string{"tlsv1", "tlsv1.1"}, tls.VersionTLS10, tls.VersionTLS11, false},
		{[]string{"sslv3"}, 0, 0, true},
	}
	for _, tt := range tests {
		lo, hi, err := pki.Versions(tt.names)
		if lo != tt.lo || hi != tt.hi || (err != nil) != tt.refused {
			t.Errorf("Versions(%q) = %x, %x, %v", tt.names, lo, hi, err)
		}
	}
}

func TestSuites(t *testing.T) {
	got, err := pki.Suites([]string{"ECDHE-RSA-AES128-GCM-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"})
	if err != nil || !slices.Equal(got, []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}) {
		t.Errorf("Suites = %x, %v", got, err)
	}
	if got, err := pki.Suites(nil); got != nil || err != nil {
		t.Errorf("Suites of none = %x, %v", got, err)
	}
	if _, err := pki.Suites([]string{"nonsense"}); err == nil {
		t.Error("no suite is known, and none is missed")
	}
}
