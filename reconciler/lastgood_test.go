package reconciler_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"clink/internal/secret"
	"clink/reconciler"
	"clink/topic"
	"clink/topology"

	"pgregory.net/rapid"
)

// fill draws a value for everything that v can hold, nil and empty lists,
// pointers to zero and absent ones alike.
func fill(t *rapid.T, v reflect.Value, path string) {
	switch v.Interface().(type) {
	case secret.Ref:
		r, err := secret.Parse(rapid.SampledFrom([]string{"", "hunter2", "file://s/a", "env://A", "quote\"\n\xff"}).Draw(t, path))
		if err != nil {
			t.Fatal(err)
		}
		v.Set(reflect.ValueOf(r))
		return
	case time.Time:
		v.Set(reflect.ValueOf(time.Unix(rapid.Int64Range(0, 1e10).Draw(t, path), 5).UTC()))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for f, x := range v.Fields() {
			fill(t, x, path+"."+f.Name)
		}
	case reflect.Pointer:
		if rapid.Bool().Draw(t, path) {
			v.Set(reflect.New(v.Type().Elem()))
			fill(t, v.Elem(), path)
		}
	case reflect.Slice:
		if n := rapid.IntRange(-1, 2).Draw(t, path); n >= 0 {
			v.Set(reflect.MakeSlice(v.Type(), n, n))
			for i := range n {
				fill(t, v.Index(i), path+"[]")
			}
		}
	case reflect.Map:
		if n := rapid.IntRange(-1, 2).Draw(t, path); n >= 0 {
			v.Set(reflect.MakeMap(v.Type()))
			for range n {
				x := reflect.New(v.Type().Elem()).Elem()
				fill(t, x, path+"[]")
				v.SetMapIndex(reflect.ValueOf(rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, path)).Convert(v.Type().Key()), x)
			}
		}
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, path))
	case reflect.String:
		v.SetString(rapid.SampledFrom([]string{"", "a", "ü <&> \u2028\x00"}).Draw(t, path))
	case reflect.Int, reflect.Int64:
		v.SetInt(rapid.SampledFrom([]int64{0, 1, -1, int64(topology.Infinity)}).Draw(t, path))
	case reflect.Uint64:
		v.SetUint(rapid.Uint64().Draw(t, path))
	default:
		t.Fatalf("%s: no way to fill a %s", path, v.Type())
	}
}

func TestLastGoodKeepsEverything(t *testing.T) {
	path := filepath.Join(t.TempDir(), "last-good")
	rapid.Check(t, func(t *rapid.T) {
		want := reconciler.LastGood{Topology: &topology.Topology{}, Revision: "r"}
		fill(t, reflect.ValueOf(want.Topology).Elem(), "topology")
		fill(t, reflect.ValueOf(&want.Held).Elem(), "held")
		if err := reconciler.SaveLastGood(path, want); err != nil {
			t.Fatal(err)
		}
		got, err := reconciler.ReadLastGood(path)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("came back as\n%+v, want\n%+v", got, want)
		}
	})
}

func smallGood(t *testing.T, revision string) reconciler.LastGood {
	t.Helper()
	password, err := secret.Parse("hunter2")
	must(t, err)
	no := false
	return reconciler.LastGood{Revision: revision, Topology: &topology.Topology{Sites: map[string]*topology.Site{
		"a": {Name: "a", Links: []topology.Link{{Name: "b", Password: password, Topics: []topic.Filter{}, TCPOpts: &topology.TCPOpts{NoDelay: &no}}}},
	}}}
}

func TestLastGoodFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "last-good")
	if _, err := reconciler.ReadLastGood(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a file: %v", err)
	}
	must(t, os.WriteFile(path+".tmp", []byte("left over"), 0o666))
	must(t, reconciler.SaveLastGood(path, smallGood(t, "r1")))
	first, err := os.Stat(path)
	must(t, err)
	if first.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", first.Mode())
	}
	must(t, reconciler.SaveLastGood(path, smallGood(t, "r1")))
	if same, err := os.Stat(path); err != nil || !os.SameFile(first, same) {
		t.Errorf("the same state is written again (%v)", err)
	}
	must(t, os.Chmod(path, 0o644))
	must(t, reconciler.SaveLastGood(path, smallGood(t, "r1")))
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("a file that others may read stays so (%v)", err)
	}
	must(t, reconciler.SaveLastGood(path, smallGood(t, "r2")))
	got, err := reconciler.ReadLastGood(path)
	if err != nil || !reflect.DeepEqual(got, smallGood(t, "r2")) {
		t.Errorf("ReadLastGood = %+v, %v", got, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("the directory holds %v, %v", entries, err)
	}
	// One place that cannot be written to keeps no other from having it.
	second := filepath.Join(dir, "second")
	if err := reconciler.SaveLastGood(path, smallGood(t, "r3"), filepath.Join(dir, "none", "x"), second); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of three, one into no directory: %v", err)
	}
	for _, at := range []string{path, second} {
		if got, err := reconciler.ReadLastGood(at); err != nil || !reflect.DeepEqual(got, smallGood(t, "r3")) {
			t.Errorf("ReadLastGood(%s) = %+v, %v", at, got, err)
		}
	}
	if err := reconciler.SaveLastGood(filepath.Join(dir, "none", "x"), smallGood(t, "r1")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("into no directory: %v", err)
	}
}

func TestLastGoodDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "last-good")
	must(t, reconciler.SaveLastGood(path, smallGood(t, "r1")))
	good, err := os.ReadFile(path)
	must(t, err)
	tests := []struct {
		name, words string
		data        []byte
	}{
		{"empty", "does not begin", nil},
		{"something else", "does not begin", []byte("hello\n{}")},
		{"cut off", "cut off or damaged", good[:len(good)-1]},
		{"longer", "cut off or damaged", append(slices.Clone(good), ' ')},
		{"head cut off", "cut off or damaged", good[:40]},
		{"another version", "is of version 2, and this clink reads version 1", bytes.Replace(good, []byte("version 1"), []byte("version 2"), 1)},
		{"one bit", "cut off or damaged", append(slices.Clone(good[:len(good)-3]), good[len(good)-3]^1, good[len(good)-2], good[len(good)-1])},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			must(t, os.WriteFile(path, tt.data, 0o600))
			_, err := reconciler.ReadLastGood(path)
			if !errors.Is(err, reconciler.ErrUnusable) || !strings.Contains(err.Error(), tt.words) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("ReadLastGood = %v, want %q", err, tt.words)
			}
			if kept, err := os.ReadFile(path + ".unusable"); err != nil || !bytes.Equal(kept, tt.data) {
				t.Errorf("what was there is kept as %q, %v", kept, err)
			}
			if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("it still is in its place: %v", err)
			}
		})
	}
}

// FuzzLastGood reads bodies of every kind under a head that fits them.
func FuzzLastGood(f *testing.F) {
	for _, body := range []string{`{"Topology":{"Sites":{"a":{"Links":[{"Name":"b","Password":"aHVudGVyMg==","TCPOpts":{"NoDelay":false}}]}}},"Revision":"r"}`, `{"Topology":{}}`, `{"Topology":[1e99]}`, `[]`, `null`} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		path := filepath.Join(t.TempDir(), "last-good")
		head := fmt.Sprintf("clink last good state, version 1, %d bytes, SHA-256 %x\n", len(body), sha256.Sum256(body))
		must(t, os.WriteFile(path, append([]byte(head), body...), 0o600))
		g, err := reconciler.ReadLastGood(path)
		if err != nil {
			if !errors.Is(err, reconciler.ErrUnusable) || g.Topology != nil {
				t.Errorf("ReadLastGood = %+v, %v", g, err)
			}
			return
		}
		must(t, reconciler.SaveLastGood(path, g))
		if again, err := reconciler.ReadLastGood(path); err != nil || !reflect.DeepEqual(again, g) {
			t.Errorf("%+v is saved and read as %+v, %v", g, again, err)
		}
	})
}
