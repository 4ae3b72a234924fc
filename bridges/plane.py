"""The local ground plane of a place: X east, Z south, metres, about an anchor on the WGS 84 ellipsoid.

An azimuthal equidistant projection centred on the anchor: distances and bearings from the anchor are exact, and
across it the scale is off by (d / R)² / 6, which is 4 mm in a kilometre-wide place of 1,000 km and nothing to speak
of in a city. A transverse Mercator grid (UTM, EPSG:3067) would be off by 400 ppm and turned by the meridian's
convergence.
"""

import numpy as np
import numpy.typing as npt
import pyproj

F64 = npt.NDArray[np.float64]


class Plane:
    """Turns longitude and latitude (degrees) into x and z (metres), and back."""

    def __init__(self, latitude: float, longitude: float) -> None:
        self.latitude = latitude
        self.longitude = longitude
        there = pyproj.CRS.from_proj4(f"+proj=aeqd +lat_0={latitude} +lon_0={longitude} +datum=WGS84 +units=m +no_defs")
        self._to = pyproj.Transformer.from_crs("EPSG:4326", there, always_xy=True)

    def to_plane(self, longitude_latitude: F64) -> F64:
        """[n, 2] degrees → [n, 2] x, z in metres."""
        east, north = self._to.transform(longitude_latitude[:, 0], longitude_latitude[:, 1])
        return np.stack([np.asarray(east, float), -np.asarray(north, float)], axis=1)

    def to_globe(self, x_z: F64) -> F64:
        """[n, 2] x, z in metres → [n, 2] longitude, latitude in degrees."""
        longitude, latitude = self._to.transform(x_z[:, 0], -x_z[:, 1], direction="INVERSE")
        return np.stack([np.asarray(longitude, float), np.asarray(latitude, float)], axis=1)
