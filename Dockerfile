# The node for a robot that runs containers: docker build -t derain_ros . && docker run --net=host --ipc=host derain_ros
# Arguments behind the image's name are those of the launch file: docker run … derain_ros cameras:=[left]
FROM ros:jazzy-ros-base

ENV PIP_BREAK_SYSTEM_PACKAGES=1
COPY . /ws/src/derain_ros
WORKDIR /ws
RUN apt-get update && rosdep update && rosdep install --from-paths src --ignore-src -y \
    && pip install --no-cache-dir openvino \
    && . /opt/ros/jazzy/setup.sh && colcon build --packages-select derain_ros \
    && rm -rf /var/lib/apt/lists/* build log

# /ros_entrypoint.sh, of the image below, sources ROS 2 itself.
RUN sed -i 's#^exec "$@"#source /ws/install/setup.bash\nexec "$@"#' /ros_entrypoint.sh
ENTRYPOINT ["/ros_entrypoint.sh", "ros2", "launch", "derain_ros", "derain.launch.py"]
