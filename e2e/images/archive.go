package images

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// image puts the layers of r together.
func (b *builder) image(ctx context.Context, r recipe) (v1.Image, error) {
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	for _, l := range r.layers(b, r) {
		built, err := b.layer(ctx, l)
		if err != nil {
			return nil, fmt.Errorf("layer %s: %w", l.name, err)
		}
		img, err = mutate.Append(img, mutate.Addendum{
			Layer:   built,
			History: v1.History{CreatedBy: "sluice e2e/images layer " + l.name, Created: v1.Time{Time: epoch()}},
		})
		if err != nil {
			return nil, fmt.Errorf("layer %s: %w", l.name, err)
		}
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Created = "linux", "amd64", v1.Time{Time: epoch()}
	file.Config = r.config
	file.Config.Labels = map[string]string{
		"org.opencontainers.image.title":    r.name,
		"org.opencontainers.image.source":   "https://github.com/sluicemesh/sluice",
		"org.opencontainers.image.licenses": "Apache-2.0",
	}
	return mutate.ConfigFile(img, file)
}

// epoch is the date of everything, as a build that can be repeated has no other.
func epoch() time.Time { return time.Unix(0, 0).UTC() }

// archive returns the archive of img under ref, writing it when it is not in the cache.
func (b *builder) archive(name, ref string, img v1.Image) (Image, error) {
	digest, err := img.Digest()
	if err != nil {
		return Image{}, err
	}
	_, tag, _ := strings.Cut(filepath.Base(ref), ":")
	path := filepath.Join(b.Cache, "archives", fmt.Sprintf("%s-%s-%s.tar", name, tag, digest.Hex[:12]))
	if _, err := os.Stat(path); err == nil {
		if err := touch(path); err != nil {
			return Image{}, err
		}
	} else {
		blobs, err := blobs(ref, img)
		if err != nil {
			return Image{}, err
		}
		if err := replace(path, func(w io.Writer) error { return writeArchive(w, blobs) }); err != nil {
			return Image{}, err
		}
		if err := prune(filepath.Dir(path), name+"-*.tar"); err != nil {
			return Image{}, err
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		return Image{}, err
	}
	return Image{Name: name, Ref: ref, Archive: path, Digest: digest.String(), Size: info.Size()}, nil
}

// blob is a file of an archive.
type blob struct {
	size int64
	open func() (io.ReadCloser, error)
}

func bytesBlob(data []byte) blob {
	return blob{
		size: int64(len(data)),
		open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil },
	}
}

// dockerEntry is what "docker load" reads, older versions of which know no OCI layout.
type dockerEntry struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// blobs returns the files of an archive by path: an OCI image layout, and Docker's manifest.json
// that points to the same blobs.
func blobs(ref string, img v1.Image) (map[string]blob, error) {
	files := map[string]blob{"oci-layout": bytesBlob([]byte(`{"imageLayoutVersion":"1.0.0"}`))}
	manifest, err := img.Manifest()
	if err != nil {
		return nil, err
	}
	docker := dockerEntry{Config: blobPath(manifest.Config.Digest), RepoTags: []string{ref}}
	layers, err := img.Layers()
	if err != nil {
		return nil, err
	}
	for i, l := range layers {
		name := blobPath(manifest.Layers[i].Digest)
		files[name] = blob{size: manifest.Layers[i].Size, open: l.Compressed}
		docker.Layers = append(docker.Layers, name)
	}
	config, err := img.RawConfigFile()
	if err != nil {
		return nil, err
	}
	files[docker.Config] = bytesBlob(config)
	raw, err := img.RawManifest()
	if err != nil {
		return nil, err
	}
	digest, err := img.Digest()
	if err != nil {
		return nil, err
	}
	files[blobPath(digest)] = bytesBlob(raw)
	index, err := json.Marshal(indexOf(ref, digest, int64(len(raw))))
	if err != nil {
		return nil, err
	}
	files["index.json"] = bytesBlob(index)
	list, err := json.Marshal([]dockerEntry{docker})
	if err != nil {
		return nil, err
	}
	files["manifest.json"] = bytesBlob(list)
	return files, nil
}

func blobPath(h v1.Hash) string { return "blobs/" + h.Algorithm + "/" + h.Hex }

// indexOf is the index of a layout with one image. containerd takes the name from its own
// annotation, others the tag from the standard one.
func indexOf(ref string, digest v1.Hash, size int64) v1.IndexManifest {
	_, tag, _ := strings.Cut(filepath.Base(ref), ":")
	return v1.IndexManifest{
		SchemaVersion: 2, MediaType: types.OCIImageIndex,
		Manifests: []v1.Descriptor{{
			MediaType: types.OCIManifestSchema1, Digest: digest, Size: size,
			Platform: &v1.Platform{OS: "linux", Architecture: "amd64"},
			Annotations: map[string]string{
				"io.containerd.image.name":          ref,
				"org.opencontainers.image.ref.name": tag,
			},
		}},
	}
}

// writeArchive writes files as a tar stream, sorted and dated at the epoch.
func writeArchive(w io.Writer, files map[string]blob) error {
	out := tar.NewWriter(w)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		h := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: files[name].size, ModTime: epoch()}
		if err := out.WriteHeader(h); err != nil {
			return fmt.Errorf("archive entry %s: %w", name, err)
		}
		in, err := files[name].open()
		if err != nil {
			return fmt.Errorf("archive entry %s: %w", name, err)
		}
		_, err = io.Copy(out, in)
		if closing := in.Close(); err == nil {
			err = closing
		}
		if err != nil {
			return fmt.Errorf("archive entry %s: %w", name, err)
		}
	}
	return out.Close()
}
