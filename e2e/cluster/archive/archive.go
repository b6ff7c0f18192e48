// Package archive reads which images an image archive holds, without unpacking it.
//
// It must not judge or change images. An OCI layout or a docker archive, as a tar file, comes in; names and digests go out.
package archive

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
)

// maxDocument bounds the documents kept while reading: manifests and indexes are a few kilobytes, layers are not kept.
const maxDocument = 4 << 20

// Image is one image of an archive.
type Image struct {
	Name   string // full reference, as containerd writes it: "docker.io/library/x:latest"
	Digest string // of what the name points at, "sha256:…"; empty in a docker archive, whose manifest is made on import
	Config string // digest of the image's configuration, "sha256:…"; empty for an index of several images
}

// Read lists the images of a file. An archive without named images is an error: nothing could be run from it.
func Read(file string) ([]Image, error) {
	in, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	documents, err := small(in)
	if err != nil {
		return nil, err
	}
	var images []Image
	switch {
	case documents["index.json"] != nil:
		images, err = layout(documents)
	case documents["manifest.json"] != nil:
		images, err = docker(documents["manifest.json"])
	default:
		return nil, errors.New("neither index.json nor manifest.json in it: not an image archive")
	}
	if err == nil && len(images) == 0 {
		err = errors.New("no image in it has a name")
	}
	return images, err
}

// Held reports whether a store has every image of an archive. stored maps names to digests and, as the container runtime's
// plugin for Kubernetes keeps it, configuration digests to the digests of their images.
func Held(images []Image, stored map[string]string) bool {
	for _, image := range images {
		digest, found := stored[image.Name]
		if !found {
			return false
		}
		if image.Digest != "" && digest != image.Digest {
			return false
		}
		if image.Digest == "" && stored[image.Config] != digest {
			return false
		}
	}
	return true
}

// small returns every file that may be a document, by name.
func small(in io.Reader) (map[string][]byte, error) {
	documents := map[string][]byte{}
	archive := tar.NewReader(in)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return documents, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read archive: %w", err)
		}
		if header.Typeflag != tar.TypeReg || header.Size > maxDocument {
			continue
		}
		text, err := io.ReadAll(archive)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", header.Name, err)
		}
		documents[path.Clean(header.Name)] = text
	}
}

// layout reads an OCI image layout.
//
// Source: OCI image specification, image-layout.md and annotations.md.
func layout(documents map[string][]byte) ([]Image, error) {
	var index struct {
		Manifests []struct {
			Digest      string            `json:"digest"`
			Annotations map[string]string `json:"annotations"`
		} `json:"manifests"`
	}
	if err := json.Unmarshal(documents["index.json"], &index); err != nil {
		return nil, fmt.Errorf("decode index: %w", err)
	}
	var images []Image
	for _, entry := range index.Manifests {
		name := entry.Annotations["io.containerd.image.name"]
		if name == "" {
			name = entry.Annotations["org.opencontainers.image.ref.name"]
		}
		if name == "" {
			continue
		}
		var manifest struct {
			Config struct {
				Digest string `json:"digest"`
			} `json:"config"`
		}
		text := documents["blobs/"+strings.Replace(entry.Digest, ":", "/", 1)]
		if err := json.Unmarshal(text, &manifest); err != nil {
			return nil, fmt.Errorf("decode manifest %s: %w", entry.Digest, err)
		}
		images = append(images, Image{Name: full(name), Digest: entry.Digest, Config: manifest.Config.Digest})
	}
	return images, nil
}

// docker reads the manifest of a docker archive. The configuration's file is named by its digest, in one of three ways.
func docker(manifest []byte) ([]Image, error) {
	var entries []struct {
		Config   string   `json:"Config"`
		RepoTags []string `json:"RepoTags"`
	}
	if err := json.Unmarshal(manifest, &entries); err != nil {
		return nil, fmt.Errorf("decode manifest: %w", err)
	}
	var images []Image
	for _, entry := range entries {
		hex := strings.TrimPrefix(strings.TrimSuffix(path.Base(entry.Config), ".json"), "sha256:")
		for _, tag := range entry.RepoTags {
			images = append(images, Image{Name: full(tag), Config: "sha256:" + hex})
		}
	}
	return images, nil
}

// full completes a reference as docker and containerd do: host, "library" and tag.
func full(name string) string {
	host, rest, found := strings.Cut(name, "/")
	switch {
	case !found:
		name = "docker.io/library/" + name
	case host == "index.docker.io":
		name = "docker.io/" + rest
	case !strings.ContainsAny(host, ".:") && host != "localhost":
		name = "docker.io/" + name
	}
	if last := path.Base(name); !strings.ContainsAny(last, ":@") {
		name += ":latest"
	}
	return name
}
